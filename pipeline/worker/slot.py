"""Owning a slot: a marker in its log, a proof after it, and the log's order decides about everyone else.

    assigned --claim--> claiming --marker written: its offset is the term, proof committed--> active
       active --rebalance begins--> suspended --assigned in the very next generation--> active, same term
       any --foreign marker after the own one, commit refused, assigned elsewhere--> lost

Records that arrive before the proof are kept. In the generation right after the one in which it was owned nobody else
can have had the slot, so its work goes on undisturbed while others join or leave.

Source: the protocol was checked as a model over random interleavings; `tests/properties/test_takeover.py` repeats
that on this code.
"""

from enum import StrEnum
from typing import Final

from pipeline.worker.tracker import Tracker
from topics.dispatches import Cancel, Dispatch, Owner
from topics.fleet import Slot
from topics.responses import Mode

SENDERS_KEPT: Final = 8
"""Senders whose newest sequence number a heartbeat repeats: a processor, its successor, and some history."""


class SlotState(StrEnum):
    """Where a slot is on its way."""

    CLAIMING = "claiming"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LOST = "lost"


class Taken:
    """A dispatch or cancellation that is to be worked on. `may_have_started`: another attempt may be in the log."""

    __slots__ = ("at_ms", "headers", "may_have_started", "offset", "partition", "record")

    def __init__(
        self,
        record: Dispatch | Cancel,
        *,
        partition: int,
        offset: int,
        at_ms: int,
        headers: tuple[tuple[str, bytes], ...],
        may_have_started: bool,
    ) -> None:
        self.record = record
        self.partition = partition
        self.offset = offset
        self.at_ms = at_ms
        self.headers = headers
        self.may_have_started = may_have_started


class SlotOwner:
    """One slot, as seen by the process that was assigned it.

    Args:
        partition: which slot.
        run: names this start of the process; tells its markers from others'.
        generation: of the group, in which the slot was assigned.
        base: the committed offset.
        metadata: of that commit.
    """

    def __init__(self, *, partition: int, run: str, generation: int, base: int, metadata: str = "") -> None:
        self.partition = partition
        self.generation = generation
        self.tracker = Tracker(base, metadata)
        self.state = SlotState.CLAIMING
        self.term = -1
        self._run = run
        self._foreign = -1
        self._seen: dict[str, int] = {}
        self._early: list[Taken] = []

    def owned(self, term: int) -> list[Taken]:
        """The marker lies at offset `term` and the commit after it was accepted: work may begin.

        Returns:
            What arrived before, in log order; empty if the slot was lost meanwhile.
        """
        if self.state is not SlotState.CLAIMING:
            return []
        if self._foreign > term:
            self.lose()
            return []
        self.term = term
        self.state = SlotState.ACTIVE
        early, self._early = self._early, []
        return [self._judged(taken) for taken in early]

    def on_record(
        self,
        record: Dispatch | Owner | Cancel,
        *,
        offset: int,
        at_ms: int,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> Taken | None:
        """The next record of the slot's log: what is to be worked on now, if anything.

        Args:
            record: as decoded.
            offset: where it lies.
            at_ms: its broker time.
            headers: as they came.
        """
        if self.state is SlotState.LOST:
            return None
        if isinstance(record, Owner):
            self._on_marker(record, offset)
            return None
        if isinstance(record, Dispatch):
            self._count(record)
        if not self.tracker.admit(offset):
            return None
        taken = Taken(
            record, partition=self.partition, offset=offset, at_ms=at_ms, headers=headers, may_have_started=True
        )
        if self.state is SlotState.CLAIMING:
            self._early.append(taken)
            return None
        return self._judged(taken)

    def on_unreadable(self, offset: int) -> bool:
        """A record that is none lies at `offset`. Whether it is to be dealt with, and finished after that."""
        return self.state is not SlotState.LOST and self.tracker.admit(offset)

    def suspend(self) -> None:
        """A rebalance begins: no commit is possible until it has ended. Work goes on."""
        if self.state is SlotState.ACTIVE:
            self.state = SlotState.SUSPENDED
        elif self.state is SlotState.CLAIMING:
            self.lose()

    def reassigned(self, generation: int) -> bool:
        """The slot was assigned to this process again: whether it was owned without a gap and is active again."""
        if self.state is SlotState.SUSPENDED and generation == self.generation + 1:
            self.generation = generation
            self.state = SlotState.ACTIVE
            return True
        self.lose()
        return False

    def lose(self) -> None:
        """It belongs to somebody else, or may. Idempotent; there is no way back, a new claim makes a new owner."""
        self.state = SlotState.LOST
        self._early.clear()

    @property
    def is_owned(self) -> bool:
        """Whether attempts may run: also while a rebalance has not said otherwise."""
        return self.state in (SlotState.ACTIVE, SlotState.SUSPENDED)

    @property
    def heartbeat(self) -> Slot:
        """The slot as a heartbeat tells it."""
        return Slot(partition=self.partition, term=self.term, seen=dict(self._seen))

    def _on_marker(self, marker: Owner, offset: int) -> None:
        if self.tracker.admit(offset):
            self.tracker.finish(offset)
        if marker.run == self._run:
            return
        self._foreign = max(self._foreign, offset)
        if self.is_owned and offset > self.term:
            self.lose()

    def _count(self, dispatch: Dispatch) -> None:
        """Remember how far each sender was read; the one that wrote last is kept longest."""
        highest = max(dispatch.seq, self._seen.pop(dispatch.sender, 0))
        self._seen[dispatch.sender] = highest
        if len(self._seen) > SENDERS_KEPT:
            del self._seen[next(iter(self._seen))]

    def _judged(self, taken: Taken) -> Taken:
        hop = taken.record.hop if isinstance(taken.record, Dispatch) else 0
        taken.may_have_started = hop > 0 or taken.offset < self.term
        return taken


def starting_mode(*, may_have_started: bool, can_continue: bool = False) -> Mode:
    """How an attempt begins: `fresh` only where no other can have started, `resume` only where the tokens so far are at
    hand and the engine goes on after them, `restart` otherwise.
    """
    if not may_have_started:
        return "fresh"
    return "resume" if can_continue else "restart"
