"""Cancellations that came before their request: kept for it, bounded in number and in time.

A cancellation that finds its request is none of this module's business. The record of one that waits is acknowledged
after a while, so that the slot's commits go on; it is remembered until the longest deadline.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pipeline.worker.slot import SlotOwner
from topics.dispatches import Cancel, Dispatch

KEPT: Final = 4096
HOLD_S: Final = 30.0
"""How long the record stays unacknowledged: a successor of this worker reads it again."""
REMEMBER_S: Final = 24 * 3600.0


@dataclass(slots=True, kw_only=True)
class _Waiting:
    cancel: Cancel
    slot: SlotOwner
    offset: int
    came_s: float
    is_held: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record lies, and for whom it is held: a request may come in another slot than its cancellation."""

    slot: SlotOwner
    offset: int


class EarlyCancels:
    """Cancellations that wait for their request, oldest first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, str], _Waiting] = OrderedDict()

    def keep(self, cancel: Cancel, *, slot: SlotOwner, offset: int, now_s: float) -> list[Place]:
        """Keep a cancellation.

        Returns:
            Records that can be acknowledged because this one displaced them.
        """
        key = (cancel.tenant, cancel.id)
        displaced = [self._waiting.pop(key)] if key in self._waiting else []
        self._waiting[key] = _Waiting(cancel=cancel, slot=slot, offset=offset, came_s=now_s)
        if len(self._waiting) > KEPT:
            displaced.append(self._waiting.popitem(last=False)[1])
        return [_place(waiting) for waiting in displaced if waiting.is_held]

    def take(self, dispatch: Dispatch) -> tuple[bool, list[Place]]:
        """Whether the dispatch was cancelled before it came, and records to acknowledge with it."""
        key = (dispatch.tenant, dispatch.id)
        waiting = self._waiting.get(key)
        if waiting is None or waiting.cancel.origin not in (None, dispatch.origin):
            return False, []
        del self._waiting[key]
        return True, [_place(waiting)] if waiting.is_held else []

    def expire(self, now_s: float) -> list[Place]:
        """Forget what nobody waits for any more; records that need not be held any longer."""
        while self._waiting and next(iter(self._waiting.values())).came_s <= now_s - REMEMBER_S:
            self._waiting.popitem(last=False)
        due = [w for w in self._waiting.values() if w.is_held and w.came_s <= now_s - HOLD_S]
        for waiting in due:
            waiting.is_held = False
        return [_place(waiting) for waiting in due]

    def forget(self, slot: SlotOwner) -> None:
        """The slot is lost: its successor reads the records that were held."""
        for key in [key for key, w in self._waiting.items() if w.slot is slot]:
            del self._waiting[key]

    def __len__(self) -> int:
        return len(self._waiting)


def _place(waiting: _Waiting) -> Place:
    return Place(slot=waiting.slot, offset=waiting.offset)
