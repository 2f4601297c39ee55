"""Records on their way to the broker: one batch in flight per partition, everything else waits and becomes the next.

That keeps the order of a partition, makes batches as large as the broker is slow, and tells whose records a batch held
when it is refused. It holds records; sending them is `pipeline.worker.publisher`'s business.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from pipeline.worker.effects import Send

Partition = tuple[str, int]


class Outbox:
    """Records by partition, in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: dict[Partition, deque[Send]] = {}
        self._ready: set[Partition] = set()
        self._in_flight: set[Partition] = set()

    def add(self, send: Send) -> None:
        """A record to be sent."""
        partition = (send.topic, send.partition)
        queue = self._waiting.get(partition)
        if queue is None:
            queue = self._waiting[partition] = deque()
        queue.append(send)
        if partition not in self._in_flight:
            self._ready.add(partition)

    def ready(self) -> Iterator[tuple[Partition, deque[Send]]]:
        """Partitions with records and none in flight. The queue is the caller's to take records from its left, which
        are in flight from then on; `settle` ends that.
        """
        ready, self._ready = self._ready, set()
        for partition in ready:
            if self._waiting[partition]:
                self._in_flight.add(partition)
                yield partition, self._waiting[partition]

    def settle(self, partition: Partition) -> bool:
        """The batch in flight is acknowledged or refused: whether more waits for the same partition."""
        self._in_flight.discard(partition)
        if self._waiting[partition]:
            self._ready.add(partition)
            return True
        return False

    def drop(self, partition: Partition, refs: Collection[str]) -> None:
        """Forget waiting records of attempts of which one was refused: what follows must not be sent."""
        queue = self._waiting[partition]
        kept = [send for send in queue if send.ref not in refs]
        queue.clear()
        queue.extend(kept)


def last_refs(batch: Sequence[Send]) -> list[str]:
    """What is complete when the batch is acknowledged."""
    return [send.ref for send in batch if send.is_last]
