"""Cancellations that came before their request: kept for it, bounded in number and in time.

A cancellation that finds its request is none of this module's business. One that waits is remembered until the longest
deadline: no request lives longer. Its record is acknowledged after a while, so that the slot's commits go on; at once
if it names the origin, because processors write that behind the dispatch, which has ended then or was handed back.
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
_Key = tuple[str, str, str | None]
"""Tenant, id, and the origin that is meant; None for any."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    cancel: Cancel
    slot: SlotOwner
    offset: int
    came_s: float
    is_held: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the record of a cancellation lies: its request may come in another slot."""

    cancel: Cancel
    slot: SlotOwner
    offset: int


class EarlyCancels:
    """Cancellations that wait for their request, oldest first; `KEPT` at most.

    Args:
        remember_s: how long one is remembered, in seconds.
    """

    def __init__(self, *, remember_s: float = REMEMBER_S) -> None:
        self._remember_s = remember_s
        self._waiting: OrderedDict[_Key, _Waiting] = OrderedDict()

    def keep(self, cancel: Cancel, *, slot: SlotOwner, offset: int, now_s: float) -> list[Place]:
        """Keep a cancellation.

        Returns:
            Records that can be acknowledged: its own, or those that it displaced.
        """
        key = (cancel.tenant, cancel.id, cancel.origin)
        displaced = [self._waiting.pop(key)] if key in self._waiting else []
        waits = self._waiting[key] = _Waiting(cancel=cancel, slot=slot, offset=offset, came_s=now_s)
        if len(self._waiting) > KEPT:
            displaced.append(self._waiting.popitem(last=False)[1])
        free = [_place(waiting) for waiting in displaced if waiting.is_held]
        if cancel.origin is not None:
            waits.is_held = False
            free.append(_place(waits))
        return free

    def take(self, dispatch: Dispatch) -> tuple[bool, list[Place]]:
        """Whether the dispatch was cancelled before it came, and records to acknowledge with it."""
        keys: tuple[_Key, _Key] = (
            (dispatch.tenant, dispatch.id, dispatch.origin),
            (dispatch.tenant, dispatch.id, None),
        )
        found = [self._waiting.pop(key) for key in keys if key in self._waiting] if self._waiting else []
        return bool(found), [_place(waiting) for waiting in found if waiting.is_held]

    def expire(self, now_s: float) -> list[Place]:
        """Forget what nobody waits for any more; records that need not be held any longer."""
        while self._waiting and next(iter(self._waiting.values())).came_s <= now_s - self._remember_s:
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
    return Place(cancel=waiting.cancel, slot=waiting.slot, offset=waiting.offset)
