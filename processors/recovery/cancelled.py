"""Which cancellations of the past still matter to a shard that has changed hands. Pure.

They are told to everybody and belong to nobody, so nothing in the log says which have found their request. Broker time
does: who cancels means the requests that were sent before. So one that is older than a request hits it only if it came
early for certain, that is if no request of its id had been sent before it, as far as the lanes were read.
"""

import heapq
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from processors.queueing.ticket import Key

LIMIT: Final = 100_000

IsEarly = Callable[[Key, int], bool]


class Kept(Struct, kw_only=True, frozen=True):
    """A cancellation to be remembered. `by_ms`: it means requests produced by then only; None for any."""

    key: Key
    at_ms: int
    by_ms: int | None


class Past:
    """The newest cancellation of each identity of a model; records may come in any order.

    Args:
        limit: how many are remembered at most.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._at_ms: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._at_ms)

    def on_record(self, key: Key, at_ms: int) -> None:
        """A cancellation, written at `at_ms` in broker time."""
        known_ms = self._at_ms.get(key)
        self._at_ms[key] = at_ms if known_ms is None else max(at_ms, known_ms)
        if len(self._at_ms) > self._limit:
            self._at_ms = dict(heapq.nlargest(self._limit // 2, self._at_ms.items(), key=lambda item: item[1]))

    def means(self, key: Key, produced_ms: int) -> bool:
        """Whether a request of that identity that was produced then is cancelled."""
        return self._at_ms.get(key, -1) >= produced_ms

    def kept(self, *, is_early: IsEarly, unread_since_ms: int | None) -> list[Kept]:
        """Those to be remembered, the oldest first.

        Args:
            is_early: tells whether a cancellation came before any request of its identity.
            unread_since_ms: the oldest request that will still be read was produced then; None if all were read.
        """
        found = []
        for key, at_ms in sorted(self._at_ms.items(), key=lambda item: item[1]):
            if is_early(key, at_ms):
                found.append(Kept(key=key, at_ms=at_ms, by_ms=None))
            elif unread_since_ms is not None and at_ms >= unread_since_ms:
                found.append(Kept(key=key, at_ms=at_ms, by_ms=at_ms))
        return found
