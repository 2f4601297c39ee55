"""Child processes: ready or explained, stopped in order, and never left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from infra.devstack.processes import Child, ChildError
from infra.devstack.readiness import log_says
from infra.devstack.stack import Stack
from tests.eventually import eventually

pytestmark = pytest.mark.integration

# A child with a child of its own, as a worker has in its engine core. Both say their pids.
FAMILY = """
import os, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pids", os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""


def family(tmp_path: Path) -> Child:
    command = [sys.executable, "-c", FAMILY]
    return Child(name="family", command=command, log=tmp_path / "family.log", ready=log_says("pids"), stop_within_s=2)


def pids_in(text: str) -> list[int]:
    return [int(pid) for line in text.splitlines() if line.startswith("pids") for pid in line.split()[1:]]


def gone(pids: list[int]) -> bool:
    """A zombie is gone: whoever is process 1 has only not looked yet."""
    left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    return not left


async def test_a_stopped_child_takes_its_own_children_with_it(tmp_path: Path) -> None:
    child = family(tmp_path)
    await child.start_async()
    pids = pids_in(child.log_text())
    await child.stop_async()
    await eventually(lambda: gone(pids))
    assert len(pids) == 2


async def test_the_children_of_a_child_killed_by_a_stranger_end_with_its_stop(tmp_path: Path) -> None:
    child = family(tmp_path)
    await child.start_async()
    pids = pids_in(child.log_text())
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(within_s=5) == -signal.SIGKILL
    child.stop()
    await eventually(lambda: gone(pids))


async def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    parent = """
import sys
from pathlib import Path
from tests.integration.infra.test_processes import family
child = family(Path(sys.argv[1]))
child.start()
print(child.log_text(), flush=True)
sys.stdin.read()
"""
    killed = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", parent, str(tmp_path)],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert killed.stdout is not None
    pids = pids_in((await killed.stdout.readline()).decode())
    assert not gone(pids)
    killed.kill()
    await killed.wait()
    await eventually(lambda: gone(pids))
    assert len(pids) == 2


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while true; do sleep 0.05; done"
    command = ["/bin/sh", "-c", script]
    child = Child(name="deaf", command=command, log=tmp_path / "log", ready=log_says("ready"), stop_within_s=0.1)
    child.start()
    assert child.stop() == -signal.SIGKILL


def test_sigterm_reaches_the_child_and_not_its_children(tmp_path: Path) -> None:
    script = "trap 'exit 7' TERM; (trap 'echo told' TERM; sleep 600 & wait) & echo ready; wait"
    child = Child(name="polite", command=["/bin/sh", "-c", script], log=tmp_path / "log", ready=log_says("ready"))
    child.start()
    assert child.stop() == 7
    assert "told" not in child.log_text()


def test_a_child_that_ends_early_is_explained_by_its_log(tmp_path: Path) -> None:
    child = Child(
        name="broken",
        command=["/bin/sh", "-c", "echo no such model >&2; exit 3"],
        log=tmp_path / "log",
        ready=log_says("ready"),
    )
    with pytest.raises(ChildError, match=r"(?s)broken ended with status 3 before it was ready.*\| no such model"):
        child.start()


def test_a_child_that_never_gets_ready_is_explained_and_killed(tmp_path: Path) -> None:
    child = Child(
        name="slow",
        command=["/bin/sh", "-c", "echo loading; sleep 600"],
        log=tmp_path / "log",
        ready=log_says("ready"),
        ready_within_s=2,
    )
    with pytest.raises(ChildError, match=r"(?s)slow was not ready within 2 s.*\| loading"):
        child.start()
    assert not child.alive


def test_readiness_of_a_second_run_does_not_come_from_the_log_of_the_first(tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/second && exit 3; touch {tmp_path}/second; echo ready; sleep 600"
    child = Child(name="twice", command=["/bin/sh", "-c", script], log=tmp_path / "log", ready=log_says("ready"))
    child.start()
    child.stop()
    with pytest.raises(ChildError, match="twice ended with status 3 before it was ready"):
        child.start()


def test_a_stack_stops_its_children_in_reverse_order_after_ctrl_c(tmp_path: Path) -> None:
    script = f"trap 'echo $0 >> {tmp_path}/order; exit 0' TERM; echo ready; while true; do sleep 0.05; done"
    with pytest.raises(KeyboardInterrupt), Stack(tmp_path / "stack") as stack:
        for name in ("first", "second", "third"):
            stack.start(name, ["/bin/sh", "-c", script, name], ready=log_says("ready"))
        raise KeyboardInterrupt
    assert (tmp_path / "order").read_text().split() == ["third", "second", "first"]


def test_two_children_of_a_stack_need_two_names(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.child("worker", ["true"])
        with pytest.raises(ValueError, match="has a child 'worker' already"):
            stack.child("worker", ["true"])


def test_a_temporary_stack_leaves_no_folder() -> None:
    with Stack() as stack:
        assert stack.logs.is_dir()
    assert not stack.folder.exists()
