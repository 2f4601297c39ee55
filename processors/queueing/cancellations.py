"""Cancellations that came before their requests. Bounded, and kept no longer than a request may live."""

from typing import Final

from processors.queueing.ticket import Key

LIMIT: Final = 100_000


class Cancellations:
    """Remembers identities until they are asked for, expire, or are displaced as the oldest of too many.

    Args:
        keep_s: how long one is remembered, in seconds.
        limit: how many are remembered.
    """

    def __init__(self, *, keep_s: float, limit: int = LIMIT) -> None:
        self._keep_s = keep_s
        self._limit = limit
        self._until_s: dict[Key, float] = {}
        self._by_ms: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, key: Key, *, now_s: float) -> None:
        """Remember an identity from now on."""
        self._until_s.pop(key, None)
        self._by_ms.pop(key, None)
        self._until_s[key] = now_s + self._keep_s
        while len(self._until_s) > self._limit or self._oldest_until_s() <= now_s:
            oldest = next(iter(self._until_s))
            del self._until_s[oldest]
            self._by_ms.pop(oldest, None)

    def inherit(self, key: Key, *, at_ms: int, by_ms: int | None) -> None:
        """Remember a cancellation of an earlier time, `at_ms` in broker time; oldest first.

        Args:
            key: the identity.
            at_ms: when it was written.
            by_ms: it means requests that were produced by then only; None for any.
        """
        if key in self._until_s:
            return
        self._until_s[key] = at_ms / 1000 + self._keep_s
        if by_ms is not None:
            self._by_ms[key] = by_ms

    def take(self, key: Key, *, now_s: float, produced_ms: int = 0) -> bool:
        """Whether the identity was cancelled for a request of that time; it is forgotten by that."""
        is_cancelled = self._until_s.pop(key, now_s) > now_s
        if self._by_ms:
            by_ms = self._by_ms.pop(key, None)
            return is_cancelled and (by_ms is None or produced_ms <= by_ms)
        return is_cancelled

    def _oldest_until_s(self) -> float:
        return next(iter(self._until_s.values()))
