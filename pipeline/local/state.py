"""The file by which other programs find a local cluster: addresses, process ids, folders."""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

STATE_FILE: Final = "cluster.json"


class ClusterState(Struct, kw_only=True, frozen=True):
    """A running local cluster. `pid` is the program that started it and stops it on SIGTERM."""

    pid: int
    config: str
    kafka: str
    clickhouse: str
    logs: str
    processes: dict[str, int] = {}

    @property
    def is_running(self) -> bool:
        """Whether the program that owns the cluster still lives."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point any Millrace command at this cluster."""
        return {
            "MILLRACE_CONFIG": self.config,
            "MILLRACE_KAFKA": self.kafka,
            "MILLRACE_CLICKHOUSE": self.clickhouse,
        }


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
