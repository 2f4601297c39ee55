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

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, key: Key, *, now_s: float) -> None:
        """Remember an identity from now on."""
        self._until_s.pop(key, None)
        self._until_s[key] = now_s + self._keep_s
        while len(self._until_s) > self._limit or self._oldest_until_s() <= now_s:
            del self._until_s[next(iter(self._until_s))]

    def take(self, key: Key, *, now_s: float) -> bool:
        """Whether the identity was cancelled; it is forgotten by that."""
        return self._until_s.pop(key, now_s) > now_s

    def _oldest_until_s(self) -> float:
        return next(iter(self._until_s.values()))
