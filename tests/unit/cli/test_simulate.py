"""`millrace simulate`: a trace through the scheduler in virtual time."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.cli.main import main
from pipeline.cli.simulate import engine_of
from pipeline.settings import load
from pipeline.simulation.llm.replica import EngineSpec

REQUESTS = 240
SETTINGS = """
[models]
search = {stable = "search@v1", classes = ["fast"]}
chat = {stable = "chat@v1", classes = ["fast"]}
[deployments."search@v1"]
engine = "simulated"
mode = "run_to_completion"
per_prefill_token_us = 0.0
[deployments."chat@v1"]
engine = "simulated"
max_context_tokens = 1000
[classes]
fast = {priority = 0, deadline_ms = 5000, e2e_ms = 1000}
"""


@pytest.fixture(autouse=True)
def a_wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two minutes of arrivals, 50 of them in one second."""
    times = [0.5 * n for n in range(REQUESTS - 50)] + [60 + 0.02 * n for n in range(50)]
    lines = [f"{at_s},{200 + 7 * n},{20 + n % 60}" for n, at_s in enumerate(times)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *lines]))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A model of each kind, on simulated engines."""
    path = tmp_path / "millrace.toml"
    path.write_text(SETTINGS)
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


def test_classes_and_tenants_are_those_of_the_settings(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "classes.premium.priority=2",
        "classes.premium.deadline_ms=9000",
        "classes.premium.e2e_ms=8000",
        "tenants.default.requests_per_s=1",
    ]
    line = ["simulate", "--trace", str(trace), "--mix", "premium=1,bulk=1", "--policy", "adaptive", "--policy", "aimd"]
    assert main([*line, "--json", *(word for one in settings for word in ("--set", one))]) == 0
    for outcome in json.loads(capsys.readouterr().out):
        assert set(outcome["goodput_by_class"]) == {"premium", "bulk"}
        assert 0.3 < outcome["limited_ratio"] < 0.7, "half of them come too fast, and a burst"
        assert outcome["goodput_ratio"] == pytest.approx(1 - outcome["limited_ratio"])


def test_engines_that_run_to_completion_are_played_by_their_own_rules(
    trace: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--config", str(settings), "simulate", "--trace", str(trace), "--deployment", "search@v1"]
    assert main([*line, "--workers", "1", "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)
    assert [outcome["policy"] for outcome in outcomes] == ["adaptive", "triton", "triton-ttl", "cork"]
    assert {outcome["ttft_p50_ms"] for outcome in outcomes} == {None}
    assert outcomes[0]["goodput_by_class"] == {"fast": 1.0}
    assert 7 < outcomes[0]["latency_p50_ms"] < 40


def test_the_engine_has_the_costs_and_the_context_of_the_deployment(
    trace: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--config", str(settings), "simulate", "--trace", str(trace), "--deployment", "chat@v1"]
    assert main([*line, "--policy", "adaptive"]) == 0
    said = capsys.readouterr().out.replace("\u00a0", " ")
    longer = sum(200 + 7 * n + 20 + n % 60 > 1000 for n in range(REQUESTS))
    assert f"{longer} requests are longer than the engine's context of 1,000 tokens, and were cut to it." in said
    assert "Target of fast: answer in 1 s." in said


def test_engines_are_told_the_priorities_of_classes_as_in_production(settings: Path) -> None:
    known = load(settings, environ={})
    for deployment in (None, "chat@v1"):
        engine, _ = engine_of(deployment, known)
        assert isinstance(engine, EngineSpec)
        assert engine.by_priority


def test_the_table_says_what_was_played_and_what_it_means(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--trace", str(trace), "--speed", "2", "--mix", "interactive=1,bulk=1"]) == 0
    said = capsys.readouterr().out.replace("\u00a0", " ")
    assert said.startswith(
        "trace.csv\n240 requests in 47.2 s, 5.08 a second, 2 times as fast as they were, on 4 workers"
    )
    for words in (
        "goodput, bulk",
        "TTFT p99",
        "workers busy",
        "Target of bulk: answer in 60 min.",
        "gate-ttl: held back",
    ):
        assert words in said


def test_columns_that_do_not_fit_stand_below(
    trace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["simulate", "--trace", str(trace), "--seconds", "3"]
    for policy in ("adaptive", "least-outstanding", "gate", "gate-ttl", "cap-64"):
        line += ["--policy", policy]
    monkeypatch.setenv("COLUMNS", "60")
    assert main(line) == 0
    said = capsys.readouterr().out
    heads = [row.split() for row in said.splitlines() if row.startswith(" ")]
    assert heads == [["adaptive", "least-outstanding", "gate", "gate-ttl"], ["cap-64"]]
    assert "…" not in said


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
        (["--policy", "cork"], "--policy cork is not for engines that batch continuously; there are: adaptive"),
        (["--seconds", "0"], "--seconds is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    trace: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--trace", str(trace), *flags]) == 2
    assert says in capsys.readouterr().err
