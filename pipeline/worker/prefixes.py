"""Which prompt beginnings the engine has computed lately: what heartbeats tell, so that prompts that share one find it.

More is remembered than is told. A beginning that came twice is likely to come again and is told before one that came
once; the engine's own cache may have dropped it, which costs its computation and nothing else. Bounded; pure.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from topics.fleet import MAX_PREFIXES

KEPT: Final = 512
"""Beginnings that are remembered: of those that are not told, a second use is noticed."""


class RecentPrefixes:
    """Hashes of prompt beginnings (`topics.prefixes`) in the order of their last use."""

    __slots__ = ("_told", "_uses")

    def __init__(self) -> None:
        self._uses: OrderedDict[int, int] = OrderedDict()
        self._told: list[int] | None = []

    def use(self, prefixes: Sequence[int]) -> None:
        """A prompt with these beginnings, the shortest first, goes to the engine."""
        if not prefixes:
            return
        for prefix in reversed(prefixes):  # so that the shortest, of which most prompts can profit, is kept longest
            self._uses[prefix] = self._uses.pop(prefix, 0) + 1
        while len(self._uses) > KEPT:
            self._uses.popitem(last=False)
        self._told = None

    def newest(self) -> list[int]:
        """At most `MAX_PREFIXES` of them, the most recently used last. Cheap where nothing was used since."""
        if self._told is None:
            self._told = self._chosen()
        return self._told

    def clear(self) -> None:
        """The engine is gone, and what it had computed."""
        self._uses.clear()
        self._told = []

    def __len__(self) -> int:
        return len(self._uses)

    def _chosen(self) -> list[int]:
        recent = list(self._uses)
        if len(recent) <= MAX_PREFIXES:
            return recent
        often = [prefix for prefix in recent if self._uses[prefix] > 1][-MAX_PREFIXES:]
        room = MAX_PREFIXES - len(often)
        once = [prefix for prefix in recent if self._uses[prefix] == 1][-room:] if room else []
        chosen = {*often, *once}
        return [prefix for prefix in recent if prefix in chosen]
