"""Who waits for whom where the machine is busy: the engine's merges for everybody else.

A merge takes a core for seconds, and nobody waits for it. The engine has a setting for this
(`os_threads_nice_value_merge_mutate`), which does nothing without `CAP_SYS_NICE`; to lower a priority needs no right.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

MERGES: Final = "MergeMutate"
"""How the engine calls the threads that merge and mutate."""
NICENESS: Final = 19
"""The lowest there is: a seventieth of what others get (`sched(7)`), and all that nobody wants."""
CORES_PER_MERGE: Final = 4
FIRST_TABLE: Final = (
    "CREATE TEMPORARY TABLE millrace_first (x UInt8) ENGINE = MergeTree ORDER BY ()",
    "DROP TEMPORARY TABLE millrace_first",
)
"""With its first table an engine starts the threads that merge."""


def merge_threads(cores: int) -> int:
    """How many threads may merge at once on a machine with so many cores. Pure."""
    return max(cores // CORES_PER_MERGE, 1)


def let_merges_wait() -> None:
    """Lower the priority of the threads that merge, if they are there already. Does nothing but on Linux."""
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended
            if (task / "comm").read_text().strip() == MERGES:
                os.setpriority(os.PRIO_PROCESS, int(task.name), NICENESS)
