"""Acknowledging: what is finished becomes committed once its trace is delivered, through the group that fences.

Acknowledgements wait for the trace rows that were added before them; every interval what may be finished is, and the
slots that changed are committed together. A commit that is refused is made again while the slot is owned.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from pipeline.worker.group import Group
from pipeline.worker.slot import SlotOwner, SlotState
from topics.trace_rows import Row

INTERVAL_S: Final = 0.15
MAX_UNDELIVERED_ROWS: Final = 50_000
"""With so many rows waiting for the broker nothing more is begun."""


class TraceSink(Protocol):
    """Where rows go; see `pipeline.runtime.tracing.TraceShipper`."""

    delivered: int

    @property
    def mark(self) -> int: ...

    def add(self, row: Row) -> int: ...


class Committer:
    """Commits the slots of one worker.

    Args:
        slots: those that the worker has, by partition; changed by their owner.
        trace: marks rows and tells which are delivered.
        after: called after each round with whether the trace is too far behind to begin more.
    """

    def __init__(self, slots: dict[int, SlotOwner], *, trace: TraceSink, after: Callable[[bool], None]) -> None:
        self._slots = slots
        self._trace = trace
        self._after = after
        self._waiting: deque[tuple[int, SlotOwner, int]] = deque()

    def acknowledge(self, slot: SlotOwner, offset: int) -> None:
        """Finish a record when every row added so far is delivered."""
        self._waiting.append((self._trace.mark, slot, offset))

    async def run(self, group: Group) -> None:
        """Commit every interval until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.commit(group)
            self._after(self._trace.mark - self._trace.delivered > MAX_UNDELIVERED_ROWS)

    async def commit(self, group: Group) -> None:
        """Finish what may be finished, and commit the slots that changed."""
        self._finish()
        by_generation: dict[int, list[SlotOwner]] = {}
        for slot in self._slots.values():
            if slot.state is SlotState.ACTIVE and slot.tracker.is_dirty:
                by_generation.setdefault(slot.generation, []).append(slot)
        for generation, slots in by_generation.items():
            offsets = {slot.partition: slot.tracker.commit() for slot in slots}
            if not await group.commit(offsets, generation=generation):
                for slot in slots:
                    slot.tracker.is_dirty = True

    def _finish(self) -> None:
        delivered = self._trace.delivered
        while self._waiting and self._waiting[0][0] <= delivered:
            _, slot, offset = self._waiting.popleft()
            slot.tracker.finish(offset)
