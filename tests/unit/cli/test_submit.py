from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.cli.submit import read_lines, settled_in, summary
from pipeline.jobs.results import ResultLine, encode_line
from pipeline.jobs.run import Tally

PROMPT = '{"custom_id": "a", "body": {"prompt": "x"}}\n'


def test_a_run_that_has_every_result_sends_nothing_and_needs_no_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "in.results.jsonl"
    file.write_text(PROMPT)
    out.write_bytes(encode_line(ResultLine(id="", custom_id="a")))

    code = main(["submit", str(file), "--model", "tiny", "--set", "kafka.brokers=127.0.0.1:1"])

    assert code == 0
    assert "1 lines: 0 answered, 1 had results before" in capsys.readouterr().err


def test_a_file_that_is_wrong_anywhere_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(PROMPT + "nonsense\n")

    assert main(["submit", str(file), "--model", "tiny"]) == 1
    assert "millrace: error: in.jsonl:2 is no JSON" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", str(tmp_path / "none.jsonl"), "--model", "tiny"]) == 1
    assert "none.jsonl: No such file" in capsys.readouterr().err


def test_lines_come_from_the_file_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"prompt": "x"}')

    assert [line.id.rpartition("-")[0] for line in read_lines(file)] == ["in.jsonl-1"]


def test_results_of_a_killed_run_are_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(encode_line(ResultLine(id="", custom_id="a")) + b'{"id": "", "cus')

    assert settled_in(out, retry=False) == {"a"}
    assert "cut off" in capsys.readouterr().err


def test_the_summary_mentions_only_what_there_is() -> None:
    assert summary(Tally(total=2, completed=2, tokens=1500), Path("o")) == (
        "2 lines: 2 answered; 1,500 tokens; results in o"
    )
    assert summary(Tally(total=9, completed=5, failed=1, skipped=3), Path("o")) == (
        "9 lines: 5 answered, 1 failed, 3 had results before; 0 tokens; results in o"
    )
