"""The file by which other programs find a local cluster: addresses, process ids, folders."""

from pathlib import Path
from typing import Final

import msgspec
import psutil
from msgspec import Struct

STATE_FILE: Final = "cluster.json"
SAME_START_S: Final = 5.0
"""The kernel counts from its boot, and the time of that moves when the clock is set."""


class ClusterState(Struct, kw_only=True, frozen=True):
    """A running local cluster. `pid` is the program that started it and stops it on SIGTERM.

    `started_s` is when that program began, in seconds since the epoch: ids are given out again, so that an id alone
    could name a stranger. 0 where it is not known.
    """

    pid: int
    started_s: float = 0.0
    config: str
    kafka: str
    clickhouse: str
    logs: str
    processes: dict[str, int] = {}
    metrics: dict[str, str] = {}
    """URL of the metrics of each process that has some."""

    @property
    def is_running(self) -> bool:
        """Whether the program that owns the cluster still lives."""
        began_s = began_at(self.pid)
        return began_s is not None and (not self.started_s or abs(began_s - self.started_s) < SAME_START_S)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point any Millrace command at this cluster."""
        return {
            "MILLRACE_CONFIG": self.config,
            "MILLRACE_KAFKA": self.kafka,
            "MILLRACE_CLICKHOUSE": self.clickhouse,
        }


def began_at(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None where there is none, or only what its parent left."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def write(folder: Path, state: ClusterState) -> None:
    """Publish the state, whole or not at all."""
    unfinished = folder / f".{STATE_FILE}"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    unfinished.rename(folder / STATE_FILE)


def read(folder: Path) -> ClusterState | None:
    """The state of the cluster in `folder` if it runs, else None."""
    try:
        state = msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=ClusterState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return state if state.is_running else None


def remove(folder: Path) -> None:
    """Take the state away. Idempotent."""
    (folder / STATE_FILE).unlink(missing_ok=True)
