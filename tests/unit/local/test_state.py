"""The file by which a running cluster is found."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pipeline.local import state
from pipeline.local.state import ClusterState


def a_state(**changes: object) -> ClusterState:
    mine = ClusterState(
        pid=os.getpid(),
        started_s=state.began_at(os.getpid()) or 0.0,
        config="/c.toml",
        kafka="127.0.0.1:1",
        clickhouse="http://127.0.0.1:2",
        logs="/logs",
        processes={"recorder": 7},
    )
    return msgspec.structs.replace(mine, **changes)


@pytest.fixture(scope="module")
def ended_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state.write(tmp_path, a_state())
    assert state.read(tmp_path) == a_state()


def test_what_is_written_again_replaces_it_and_leaves_nothing_else(tmp_path: Path) -> None:
    state.write(tmp_path, a_state())
    state.write(tmp_path, a_state(kafka="127.0.0.1:9"))
    found = state.read(tmp_path)
    assert found is not None
    assert found.kafka == "127.0.0.1:9"
    assert [path.name for path in tmp_path.iterdir()] == [state.STATE_FILE]


def test_a_cluster_whose_owner_has_ended_does_not_run(tmp_path: Path, ended_pid: int) -> None:
    state.write(tmp_path, a_state(pid=ended_pid))
    assert state.read(tmp_path) is None


def test_a_stranger_with_the_owners_id_is_not_the_owner(tmp_path: Path) -> None:
    state.write(tmp_path, a_state(started_s=1.0))
    assert state.read(tmp_path) is None


def test_an_owner_that_nobody_has_collected_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # its end of the pipe is closed by its end, not by our waiting for it
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert state.began_at(child.pid) is None
    child.communicate()


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "one"}'])
def test_a_file_that_is_no_state_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / state.STATE_FILE).write_bytes(content)
    assert state.read(tmp_path) is None


def test_an_empty_folder_has_no_cluster(tmp_path: Path) -> None:
    assert state.read(tmp_path) is None


def test_removing_is_idempotent(tmp_path: Path) -> None:
    state.write(tmp_path, a_state())
    state.remove(tmp_path)
    state.remove(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_environment_points_at_the_cluster() -> None:
    assert a_state().environment == {
        "MILLRACE_CONFIG": "/c.toml",
        "MILLRACE_KAFKA": "127.0.0.1:1",
        "MILLRACE_CLICKHOUSE": "http://127.0.0.1:2",
    }
