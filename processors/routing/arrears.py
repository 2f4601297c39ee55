"""Whose turn it is at a worker that several shards share, where dividing its room would leave somebody without.

A part of what is free can be too small for a request that needs much, heartbeat after heartbeat, while others go on
taking their parts. So it is counted how many dispatches each shard that waits is behind its portion of them. Who is far
behind has all that is free, until it has caught up, and so has whoever is most behind when a while passes in which
nobody could use the part that it had: what ends meanwhile adds up, at the latest to an empty worker, which takes
everything.

All shards read the same counts from the same heartbeats, so that they give way to each other without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from processors.policy import shard_of
from topics.fleet import Heartbeat

FAR_BEHIND: Final = 2.0
"""Requests. Taking turns with small requests leaves nobody as far behind."""
MOST_BEHIND: Final = 16.0
"""Requests that are made up for, at most."""
MOST_MISSED: Final = 4.0
"""Requests that a shard would have been owed of what others sent since it could send one: newcomers give way, too."""
UNUSED_MS: Final = 40
"""What was free for so long can be used by nobody who waits: a dispatch has come by then, and a heartbeat tells of it.
What those send who do not wait says nothing about the others."""
LEFT_EMPTY: Final = 2
"""A worker that was left empty for so many heartbeats is divided: whoever goes first has no use for it."""


class Waiting(Struct, frozen=True):
    """What one shard knows of all, at one time.

    Attributes:
        ratios: the portion of each.
        shards: those that have told of something to dispatch, of the most urgent class that anybody has.
        heard: those that have told lately what waits there.
        is_untold: something as urgent waits here that the others have not heard of.
    """

    ratios: Sequence[float]
    shards: frozenset[int]
    heard: frozenset[int]
    is_untold: bool = False


class First(Struct, frozen=True):
    """The shard that goes first. Newcomers keep a little of what is free, unless it is `overdue`."""

    shard: int
    is_overdue: bool


class Arrears:
    """Of one worker, as one shard sees it."""

    __slots__ = ("_behind", "_empty", "_free_from_ms", "_missed", "_run", "_seen", "_waiting")

    def __init__(self) -> None:
        self._run = ""
        self._behind: dict[int, float] = {}
        self._missed: dict[int, float] = {}
        self._waiting: frozenset[int] = frozenset()
        self._seen: dict[int, dict[str, int]] = {}
        self._free_from_ms: int | None = None
        self._empty = 0

    def read(self, heartbeat: Heartbeat) -> dict[int, int]:
        """Dispatches by shard that the worker has read since the heartbeat before."""
        sent: dict[int, int] = {}
        before = self._seen if heartbeat.run == self._run else {}
        self._run = heartbeat.run
        for slot in heartbeat.slots:
            known = before.get(slot.partition)
            if known is not None and slot.seen != known:
                for sender, seq in slot.seen.items():
                    shard, new = shard_of(sender), seq - known.get(sender, 0)
                    if shard is not None and new > 0:
                        sent[shard] = sent.get(shard, 0) + new
        self._seen = {slot.partition: slot.seen for slot in heartbeat.slots}
        return sent

    def first(self, heartbeat: Heartbeat, sent: Mapping[int, int], waiting: Waiting) -> First | None:
        """The shard that has all that is free now; None where it is divided.

        Args:
            heartbeat: the newest one.
            sent: what `read` made of it.
            waiting: who waits, and what each is owed.
        """
        self._count(sent, waiting)
        if not heartbeat.credits.free_sequences:
            self._free_from_ms = None
        elif self._free_from_ms is None or not waiting.shards.isdisjoint(sent):
            self._free_from_ms = heartbeat.at_ms
        is_unused = self._free_from_ms is not None and heartbeat.at_ms - self._free_from_ms >= UNUSED_MS
        is_empty = not heartbeat.running + heartbeat.waiting
        self._empty = self._empty + 1 if is_empty and not sent else 0
        if not waiting.shards or self._empty > LEFT_EMPTY or not waiting.heard.issuperset(sent):
            return None
        missed = max(waiting.shards, key=lambda shard: (self._missed[shard], -shard))
        if self._missed[missed] >= MOST_MISSED:
            return First(missed, True)
        shard = max(waiting.shards, key=lambda each: (self._behind[each], -each))
        return First(shard, False) if is_unused or self._behind[shard] >= FAR_BEHIND else None

    def _count(self, sent: Mapping[int, int], waiting: Waiting) -> None:
        """Count dispatches for those that wait. Who begins to wait is as far behind as anybody, but no further.

        What those send who do not wait was not taken from anybody, unless somebody could send nothing meanwhile.
        """
        behind, ratios, shards = self._behind, waiting.ratios, waiting.shards
        furthest = max((behind[shard] for shard in shards & self._waiting), default=0.0)
        for shard in shards - self._waiting:
            behind[shard] = min(behind.get(shard, furthest), furthest)
            self._missed[shard] = 0.0
        self._waiting = shards
        whole = sum(ratios[shard] for shard in shards)
        contended, total = sum(sent.get(shard, 0) for shard in shards), sum(sent.values())
        for shard in shards:
            own = sent.get(shard, 0)
            now = behind[shard] + contended * ratios[shard] / whole - own
            behind[shard] = max(-MOST_BEHIND, min(MOST_BEHIND, now))
            self._missed[shard] = 0.0 if own else self._missed[shard] + total * ratios[shard]
