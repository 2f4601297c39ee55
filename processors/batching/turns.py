"""Whose turn it is at a worker that runs batches to completion, where several shards share the workers.

A worker takes one batch after the other, so there is nothing of it to divide but the order. Workers lie side by side in
the order of their names, each as wide as all others, and a shard's portion covers some of them: these are its own. One
that two portions meet in goes to either of them, batch by batch, as a number says that all shards read from the same
heartbeat: that of the batch that ended there last.

A worker that has been idle for longer than its owner would wait for a larger batch is lent to the others, one after the
other, each a little later than what the one before it sent can be heard of.
"""

import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

FIRST_TURN: Final = 0.5
"""Of a worker that has not ended a batch yet."""
_HEARD_HOPS: Final = 2.5
"""After so many hops what somebody has sent to a worker is known to all."""
_TOLD_S: Final = 0.02
"""A worker tells what has come to it within this time."""
_NEARLY: Final = 0.3
_CRC_VALUES: Final = 2**32


class Turns(NamedTuple):
    """Of one shard, at one time.

    Attributes:
        ratios: each shard's portion of all workers together.
        shard, shards: which one it is, from 0, of how many.
        workers: how many there are.
        hold_s: for how long its owner may leave a worker idle, to wait for a larger batch.
        hop_s: one way through the broker, in seconds.
    """

    ratios: Sequence[float]
    shard: int
    shards: int
    workers: int
    hold_s: float
    hop_s: float

    def is_own(self, index: int, turn: float) -> bool:
        """Whether the next batch of the `index`-th worker is this shard's."""
        return self._border(self.shard) <= index + turn < self._border(self.shard + 1)

    def _border(self, number: int) -> float:
        """Where a shard's portion begins. If that is nearly between two workers it is there: sharing one costs hops.

        But no shard loses more than half of its portion by that.
        """
        if number in (0, self.shards):
            return self.workers if number else 0.0
        border = sum(self.ratios[:number]) * self.workers
        nearest = round(border)
        narrow = min(self.ratios[number - 1], self.ratios[number]) * self.workers
        return nearest if abs(border - nearest) < min(_NEARLY, narrow / 4) else border

    def lent_s(self, index: int) -> float:
        """How long the `index`-th worker, another shard's, has to be idle until this one may take it."""
        return max(self.hold_s, _TOLD_S) + _HEARD_HOPS * self.hop_s * (1 + (self.shard + index) % self.shards)


def turn_after(batch_id: str) -> float:
    """From 0 to 1, evenly spread over batches: the place within a worker that decides whose turn it is."""
    return zlib.crc32(batch_id.encode()) / _CRC_VALUES
