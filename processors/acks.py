"""Acknowledging input records in order: an offset is passed on only when it and all before it are settled.

Faust 0.15 commits past unacknowledged records when they are acknowledged out of order, so it is never given the chance.
"""

from collections import deque
from collections.abc import Callable

from processors.events import Address


class _Entry:
    __slots__ = ("ack", "is_settled", "offset")

    def __init__(self, offset: int, ack: Callable[[], object]) -> None:
        self.offset = offset
        self.ack = ack
        self.is_settled = False


class OrderedAcks:
    """Unacknowledged records of one partition, in the order in which they were received."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._by_offset: dict[int, _Entry] = {}
        self._newest = -1

    def __len__(self) -> int:
        return len(self._entries)

    def missing_before(self, at: Address) -> int:
        """How many records between the newest one that came and this one are not in the log any more."""
        return max(at.offset - self._newest - 1, 0) if self._newest >= 0 else 0

    def receive(self, at: Address, ack: Callable[[], object]) -> bool:
        """A record came; `ack` will be called once, after those of all records before it. False: it came before."""
        if at.offset <= self._newest:
            return False
        self._newest = at.offset
        entry = _Entry(at.offset, ack)
        self._entries.append(entry)
        self._by_offset[at.offset] = entry
        return True

    def settle(self, at: Address) -> None:
        """What followed from a record is safe. Records that are not known (any more) are ignored."""
        entry = self._by_offset.pop(at.offset, None)
        if entry is None:
            return
        entry.is_settled = True
        while self._entries and self._entries[0].is_settled:
            self._entries.popleft().ack()
