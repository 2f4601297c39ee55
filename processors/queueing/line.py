"""Waiting tickets in the order of a time of theirs: when they are due, or when they expire.

Most tickets of a kind have their time in the order in which they came, and stand in line; only one whose time is before
that of the last of the line goes into a heap beside it. Tickets that leave from the middle are marked, and dropped when
they surface, or all at once.
"""

import heapq
from collections import deque

from processors.queueing.ticket import Ticket

Entry = tuple[int, int, Ticket]
"""The time of a ticket in milliseconds, its number, which no other has, and the ticket."""


class Line:
    """Tickets by their times; equal ones by number. Every operation is O(log n), amortised."""

    __slots__ = ("_early", "_line")

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self._early: list[Entry] = []

    @property
    def held(self) -> int:
        """Tickets in memory, waiting or not."""
        return len(self._line) + len(self._early)

    @property
    def first(self) -> Entry:
        """The first entry, after `settle` that of a waiting ticket. There must be one."""
        line, early = self._line, self._early
        return early[0] if early and (not line or early[0] < line[0]) else line[0]

    def put(self, entry: Entry) -> None:
        """Let a ticket wait."""
        line = self._line
        if not line or line[-1] < entry:
            line.append(entry)
        else:
            heapq.heappush(self._early, entry)

    def settle(self) -> None:
        """Drop who has left from the fronts."""
        line, early = self._line, self._early
        while line and not line[0][2].is_waiting:
            line.popleft()
        while early and not early[0][2].is_waiting:
            heapq.heappop(early)

    def compact(self) -> None:
        """Drop all who have left."""
        self._line = deque(entry for entry in self._line if entry[2].is_waiting)
        self._early = [entry for entry in self._early if entry[2].is_waiting]
        heapq.heapify(self._early)
