"""What one scheduler put into one slot and no heartbeat has counted yet.

A heartbeat names the last dispatch that its numbers contain (`Slot.seen`); the ones after it are summed here, so that
counting a heartbeat costs what it newly counts and nothing else. Does not know workers.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from processors.queueing.ticket import Demand
from topics.fleet import Slot

UNSEEN_AFTER_S: Final = 30.0
"""A dispatch that no heartbeat has counted for so long has ended, and its owner did not live to say so."""
SETTLED_AFTER_S: Final = 2.0
"""So long after a slot was first seen with a new owner, that owner has read whatever lay there before its marker."""


class _Uncounted(Struct, frozen=True, gc=False):
    seq: int
    sequences: int
    kv_tokens: int
    prompt_tokens: int
    at_s: float


class SlotLog:
    """Dispatches into one slot, and the sums of those that are not counted. Their numbers begin after `seq`.

    What a former owner finished without telling is told by nobody: the new owner has read what was unfinished when it
    took the slot over, so that everything older than the take-over which it does not name is over.

    Attributes:
        seq: number of the last dispatch.
        term: that of the owner that was heard last; -1 before the first.
        sequences, kv_tokens, prompt_tokens: sums over uncounted dispatches.
    """

    __slots__ = ("_taken_over_s", "_unseen", "kv_tokens", "prompt_tokens", "seq", "sequences", "term")

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq
        self.term = -1
        self.sequences = 0
        self.kv_tokens = 0
        self.prompt_tokens = 0
        self._unseen: deque[_Uncounted] = deque()
        self._taken_over_s = float("-inf")

    def __len__(self) -> int:
        """Dispatches that are not counted."""
        return len(self._unseen)

    def add(self, demand: Demand, *, prompt_tokens: int, now_s: float) -> int:
        """A request is dispatched of whose prompt `prompt_tokens` have to be computed: its number."""
        self.seq += 1
        self._unseen.append(_Uncounted(self.seq, demand.sequences, demand.kv_tokens, prompt_tokens, now_s))
        self.sequences += demand.sequences
        self.kv_tokens += demand.kv_tokens
        self.prompt_tokens += prompt_tokens
        return self.seq

    def add_together(self, demands: Iterable[Demand], *, now_s: float) -> range:
        """Requests are dispatched all of whose prompts have to be computed: their numbers."""
        first = seq = self.seq + 1
        add, sequences, kv_tokens, prompt_tokens = self._unseen.append, 0, 0, 0
        for demand in demands:
            add(_Uncounted(seq, demand.sequences, demand.kv_tokens, demand.prompt_tokens, now_s))
            sequences += demand.sequences
            kv_tokens += demand.kv_tokens
            prompt_tokens += demand.prompt_tokens
            seq += 1
        self.seq = seq - 1
        self.sequences += sequences
        self.kv_tokens += kv_tokens
        self.prompt_tokens += prompt_tokens
        return range(first, seq)

    def count(self, slot: Slot, *, sender: str, at_s: float, now_s: float) -> None:
        """Forget what a heartbeat of the slot's owner, written at `at_s`, has counted or would have."""
        if slot.term != self.term:
            self._taken_over_s = float("-inf") if self.term < 0 else at_s
            self.term = slot.term
        over_before_s = now_s - UNSEEN_AFTER_S
        if at_s >= self._taken_over_s + SETTLED_AFTER_S:
            over_before_s = max(over_before_s, self._taken_over_s)
        seen = slot.seen.get(sender, 0)
        unseen = self._unseen
        while unseen and (unseen[0].seq <= seen or unseen[0].at_s < over_before_s):
            gone = unseen.popleft()
            self.sequences -= gone.sequences
            self.kv_tokens -= gone.kv_tokens
            self.prompt_tokens -= gone.prompt_tokens
