"""Workers that have spoken, remembered for schedulers that begin later. Pure.

A shard may be assigned long after its model's workers have started: it then knows nothing of what they timed while they
warmed up, which is told once. So the first timings of each run are kept, and its newest heartbeat.
"""

from dataclasses import dataclass
from typing import Final

from topics.fleet import Heartbeat

FORGET_AFTER_MS: Final = 60_000
"""A worker that has been silent for so long is forgotten."""


@dataclass(slots=True)
class _Told:
    newest: Heartbeat
    at_ms: int
    timed: Heartbeat | None
    timed_at_ms: int


class RollCall:
    """The newest heartbeat of every worker, and the first one of its run that had timings."""

    def __init__(self) -> None:
        self._workers: dict[str, _Told] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def observe(self, heartbeat: Heartbeat, *, at_ms: int) -> None:
        """A heartbeat, written at `at_ms` in broker time; in log order."""
        known = self._workers.get(heartbeat.worker)
        is_timed = bool(heartbeat.samples or heartbeat.batches)
        if heartbeat.state == "stopped":
            self._workers.pop(heartbeat.worker, None)
        elif known is None or known.newest.run != heartbeat.run:
            self._forget(at_ms)
            self._workers[heartbeat.worker] = _Told(heartbeat, at_ms, heartbeat if is_timed else None, at_ms)
        else:
            known.newest, known.at_ms = heartbeat, at_ms
            if known.timed is None and is_timed:
                known.timed, known.timed_at_ms = heartbeat, at_ms

    def told(self) -> list[tuple[Heartbeat, int]]:
        """What a newcomer has to hear, in order, each with its broker time."""
        heard: list[tuple[Heartbeat, int]] = []
        for told in self._workers.values():
            if told.timed is not None and told.timed is not told.newest:
                heard.append((told.timed, told.timed_at_ms))
            heard.append((told.newest, told.at_ms))
        return heard

    def _forget(self, now_ms: int) -> None:
        for name in [name for name, told in self._workers.items() if told.at_ms < now_ms - FORGET_AFTER_MS]:
            del self._workers[name]
