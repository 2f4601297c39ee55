"""Deadlines of the requests at hand. Broker time, milliseconds; nothing here reads a clock."""

import heapq
from collections.abc import Iterator
from typing import Final

_SLACK: Final = 64


class Deadlines:
    """Which requests are due next. Removed ones cost memory only until they are half of all."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._live: dict[int, int] = {}

    def add(self, serial: int, at_ms: int) -> None:
        """The request `serial` is due at `at_ms`."""
        self._live[serial] = at_ms
        heapq.heappush(self._heap, (at_ms, serial))

    def remove(self, serial: int) -> None:
        """The request `serial` is not due any more. Idempotent."""
        self._live.pop(serial, None)
        if len(self._heap) > 2 * len(self._live) + _SLACK:
            self._heap = [(at_ms, serial) for serial, at_ms in self._live.items()]
            heapq.heapify(self._heap)

    def due(self, now_ms: int) -> Iterator[int]:
        """Serial numbers that are due, each once, earliest first."""
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, serial = heapq.heappop(self._heap)
            if self._live.get(serial) == at_ms:
                del self._live[serial]
                yield serial

    @property
    def next_ms(self) -> int | None:
        """A time before which nothing is due; None while nothing is."""
        return self._heap[0][0] if self._heap else None
