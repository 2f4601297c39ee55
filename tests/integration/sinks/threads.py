"""What the kernel says of the threads of an embedded engine."""

import contextlib
import os
from pathlib import Path

import psutil

from sinks.clickhouse.http.priority import MERGES

PROC = Path("/proc")


def niceness_of_threads(pid: int) -> tuple[list[int], list[int]]:
    """Of the threads that merge, and of all others."""
    merging: list[int] = []
    others: list[int] = []
    for thread in psutil.Process(pid).threads():
        with contextlib.suppress(OSError):  # it has ended
            name = (PROC / str(pid) / "task" / str(thread.id) / "comm").read_text().strip()
            (merging if name == MERGES else others).append(os.getpriority(os.PRIO_PROCESS, thread.id))
    return merging, others
