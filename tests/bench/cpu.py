"""CPU time by process over a window, and how much the rest of the machine used meanwhile."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """CPU seconds of each named process and of everyone else on the machine.

    Children count with their parent, except for this program, whose children are the other processes.
    """

    seconds: float
    by_process: dict[str, float]
    others: float

    @property
    def others_cores(self) -> float:
        """Cores that foreign processes kept busy on average."""
        return self.others / self.seconds


class CpuMeter:
    """Measures between `start` and `stop`. `pids` names the processes that belong to the benchmark."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._begin: tuple[float, float, dict[str, float]] | None = None

    def start(self, now_s: float) -> None:
        """Begin the window at a monotonic time."""
        self._begin = (now_s, _machine_busy(), self._used())

    def stop(self, now_s: float) -> Window:
        """End the window begun by `start`."""
        assert self._begin is not None, "start() comes first"
        begin_s, busy, used = self._begin
        by_process = {name: seconds - used[name] for name, seconds in self._used().items()}
        others = max(0.0, _machine_busy() - busy - sum(by_process.values()))
        return Window(seconds=now_s - begin_s, by_process=by_process, others=others)

    def _used(self) -> dict[str, float]:
        return {name: _tree_seconds(pid) for name, pid in self._pids.items()}


def _machine_busy() -> float:
    times = psutil.cpu_times()
    return float(
        times.user + times.nice + times.system
    )  # interrupts belong to nobody: much of them is our own loopback


def _tree_seconds(pid: int) -> float:
    root = psutil.Process(pid)
    total = 0.0
    children = [] if pid == os.getpid() else root.children(recursive=True)
    for process in (root, *children):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
