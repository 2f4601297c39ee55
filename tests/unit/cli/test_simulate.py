"""`millrace simulate`: a trace through the scheduler in virtual time."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.cli.main import main

REQUESTS = 240


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two minutes of arrivals, 50 of them in one second."""
    times = [0.5 * n for n in range(REQUESTS - 50)] + [60 + 0.02 * n for n in range(50)]
    lines = [f"{at_s},{200 + 7 * n},{20 + n % 60}" for n, at_s in enumerate(times)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *lines]))
    return path


def test_ways_of_batching_are_compared_on_the_same_requests(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "simulate",
        "--trace",
        str(trace),
        "--workers",
        "1",
        "--policy",
        "adaptive",
        "--policy",
        "clump-16",
        "--json",
    ]
    assert main(line) == 0
    adaptive, clump = json.loads(capsys.readouterr().out)
    assert (adaptive["policy"], clump["policy"]) == ("adaptive", "clump-16")
    assert adaptive["requests"] == clump["requests"] == REQUESTS
    assert adaptive["goodput_ratio"] >= clump["goodput_ratio"] > 0
    assert 0 < adaptive["ttft_p50_ms"] < clump["ttft_p50_ms"]
    assert adaptive["usd"] == pytest.approx(adaptive["gpu_hours"] * 2.10)


def test_the_same_line_gives_the_same_figures(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["simulate", "--trace", str(trace), "--policy", "adaptive", "--mix", "interactive=1,bulk=1", "--json"]
    assert main(line) == 0
    first = capsys.readouterr().out
    assert main(line) == 0
    assert capsys.readouterr().out == first
    assert set(json.loads(first)[0]["goodput_by_class"]) == {"interactive", "bulk"}


def test_the_page_is_whole_and_refers_to_nothing_outside(trace: Path, tmp_path: Path) -> None:
    page = tmp_path / "what-if.html"
    assert main(["simulate", "--trace", str(trace), "--policy", "adaptive", "--plot", str(page)]) == 0
    text = page.read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    for picture in text.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + picture.split("</svg>")[0] + "</svg>")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--mix", "silver=1"], "--mix names the class 'silver'; the settings have: realtime"),
        (["--mix", "bulk=none"], "share 'none'; write a number above 0"),
        (["--speed", "0"], "--speed is 0"),
        (["--deployment", "m@v9"], "--deployment 'm@v9' is no simulated one"),
    ],
)
def test_what_makes_no_sense_is_refused(
    trace: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--trace", str(trace), *flags]) == 2
    assert says in capsys.readouterr().err
