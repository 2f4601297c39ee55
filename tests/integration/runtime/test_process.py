"""A process is asked to stop by one signal and ended by two, and says when it serves."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.devstack.processes import Child
from pipeline.runtime.process import READY_FILE
from tests.eventually import eventually

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PROGRAM = """
import asyncio, logging, sys
from pipeline.runtime import process

async def main(stop):
    logging.getLogger("aiokafka").warning("one broker")
    logging.getLogger("aiokafka").warning("one broker")
    logging.getLogger("aiokafka").info("chatter")
    process.settle_memory()
    process.announce_ready()
    await stop.wait()
    logging.getLogger("program").info("asked to stop")
    {after}

sys.exit(process.run(main))
"""

Program = Callable[[str], Child]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """`program("return 3")` is a running process that does so after it was asked to stop."""
    ready = tmp_path / "ready"
    ready.write_text("of a former run\n")
    started: list[Child] = []

    def begin(after: str) -> Child:
        child = Child(
            name="program",
            command=(sys.executable, "-c", PROGRAM.format(after=after)),
            log=tmp_path / "log",
            ready=lambda child: ready.exists() and ready.read_text() == f"{child.pid}\n",
            env={READY_FILE: str(ready)},
        )
        started.append(child)
        child.start()
        return child

    yield begin
    for child in started:
        child.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("code", [0, 3])
def test_one_signal_asks_to_stop_and_the_exit_code_is_passed_on(
    program: Program, number: signal.Signals, code: int
) -> None:
    child = program(f"return {code}")
    child.send(number)
    assert child.wait(within_s=30) == code
    assert "INFO program: asked to stop" in child.log_text()


async def test_a_second_signal_ends_a_process_that_does_not_stop(program: Program) -> None:
    child = program("await asyncio.Event().wait()")
    child.send(signal.SIGTERM)
    await eventually(lambda: "asked to stop" in child.log_text(), within_s=30)
    child.send(signal.SIGTERM)
    assert child.wait(within_s=30) == 128 + signal.SIGTERM


def test_the_ready_file_is_there_only_while_the_process_serves(program: Program, tmp_path: Path) -> None:
    child = program("return 0")
    assert (tmp_path / "ready").read_text() == f"{child.pid}\n"
    child.send(signal.SIGTERM)
    child.wait(within_s=30)
    assert not (tmp_path / "ready").exists()


def test_libraries_are_heard_when_they_warn_and_not_twice(program: Program) -> None:
    child = program("return 0")
    assert child.log_text().count("WARNING aiokafka: one broker") == 1
    assert "chatter" not in child.log_text()
