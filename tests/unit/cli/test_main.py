import re
import shlex
import subprocess
import sys

import pytest

from pipeline.cli.failures import FAILED, OK, USAGE, guarded
from pipeline.cli.main import COMMANDS, command_parser, main
from topics.errors import SettingsError, TransportError


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_every_command_shows_an_example_and_the_global_flags(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == OK

    said = capsys.readouterr().out
    assert f"usage: millrace {command}" in said
    assert "example:\n  " in said
    assert "--set KEY=VALUE" in said


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_examples_of_every_command_are_lines_that_it_understands(command: str) -> None:
    module = COMMANDS[command].load()
    examples = [line for line in module.EXAMPLE.splitlines() if f"millrace {command}" in line]
    words = [re.split(r" [|>] ", line.partition(f"millrace {command}")[2].rstrip('")'))[0] for line in examples]

    parsed = [command_parser(command, module).parse_args(shlex.split(_closed(rest))) for rest in words]

    assert len(parsed) >= 1


def _closed(rest: str) -> str:
    """The rest of a line whose last quotation mark was cut off with what closed the command around it."""
    return rest + '"' * (rest.count('"') % 2)


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == OK

    said = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in said] == []


def test_without_a_command_the_overview_goes_to_stderr_and_the_exit_code_says_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == USAGE

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: millrace" in captured.err


@pytest.mark.parametrize("line", [["nonsense"], ["topics"], ["topics", "explode"], ["ask"], ["status", "--nope"]])
def test_wrong_usage_exits_with_2(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == USAGE
    assert "usage: millrace" in capsys.readouterr().err


def test_global_flags_count_before_and_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--set", "kafka.replication=3", "config", "show", "--set", "kafka.brokers=k:1", "--json"]

    assert main(line) == OK

    said = capsys.readouterr().out
    assert '"replication": 3' in said
    assert '"brokers": "k:1"' in said


def test_a_setting_that_nobody_knows_is_one_line_on_stderr_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", "kafka.broker=x"]) == USAGE

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("millrace: error: settings: ")
    assert captured.err.count("\n") == 1
    assert "did you mean `brokers`?" in captured.err


def _raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TransportError("no broker"), FAILED),
        (SettingsError("no such key"), USAGE),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_code_tells_how_a_command_ended(error: BaseException, code: int) -> None:
    assert guarded(lambda: _raising(error)) == code


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: _raising(ZeroDivisionError()))


def test_a_model_or_deployment_that_is_not_configured_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["processor", "--model", "nope"]) == USAGE
    assert main(["worker", "--deployment", "nope@v1"]) == USAGE

    said = capsys.readouterr().err
    assert "--model 'nope' is not in the settings" in said
    assert "--deployment 'nope@v1' is not in the settings" in said


@pytest.mark.slow
def test_the_workers_entry_needs_none_of_the_packages_that_its_environment_lacks() -> None:
    absent = ("rich", "faust", "chdb", "clickhouse_connect", "psutil")
    program = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({absent!r})); "
        "sys.argv = ['x', '--deployment', 'nope@v1']; runpy.run_module('pipeline.worker', run_name='__main__')"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == USAGE
    assert "--deployment 'nope@v1' is not in the settings" in done.stderr
