"""Records on their way to the broker: one batch in flight per partition, everything else waits and becomes the next.

That keeps the order of a partition, makes batches as large as the broker is slow, and tells whose records a batch held
when it is refused. Deltas of one attempt that wait together become one record: they would travel and arrive together
anyway, and each record costs the worker, the broker and the reader as much as a token does. Nothing waits for another.
It holds records; sending them is `pipeline.worker.publisher`'s business.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from pipeline.worker.answers import joined_logprobs
from pipeline.worker.effects import Send
from topics.codec import encode
from topics.responses import Delta

Partition = tuple[str, int]

JOINED_TOKENS: Final = 64
"""A delta that was joined has fewer tokens than this before the last one joins."""


class Parcel:
    """What becomes one record: a `Send`, or those deltas of one attempt that followed it while it waited."""

    __slots__ = ("_deltas", "_tokens", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self._deltas = [send.content] if isinstance(send.content, Delta) else []
        self._tokens = sum(len(delta.token_ids) for delta in self._deltas)

    def join(self, send: Send) -> bool:
        """Take the attempt's next record along: a delta after a delta, if there is room."""
        delta = send.content
        if not isinstance(delta, Delta) or not self._deltas or self._tokens >= JOINED_TOKENS:
            return False
        self._deltas.append(delta)
        self._tokens += len(delta.token_ids)
        return True

    @property
    def value(self) -> bytes:
        """The record's value."""
        return self.send.value if len(self._deltas) < 2 else encode(joined(self._deltas))


def joined(deltas: Sequence[Delta]) -> Delta:
    """One delta with the tokens, the text and the log probabilities of several that follow on each other."""
    first = deltas[0]
    return Delta(
        id=first.id,
        origin=first.origin,
        attempt=first.attempt,
        seq=first.seq,
        text="".join(delta.text for delta in deltas),
        token_ids=[token for delta in deltas for token in delta.token_ids],
        logprobs=joined_logprobs([delta.logprobs for delta in deltas]),
    )


class Outbox:
    """Records by partition, in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: defaultdict[Partition, deque[Parcel]] = defaultdict(deque)
        self._last: defaultdict[Partition, dict[str, Parcel]] = defaultdict(dict)
        self._ready: set[Partition] = set()
        self._in_flight: set[Partition] = set()

    def add(self, send: Send) -> None:
        """A record to be sent."""
        partition = (send.topic, send.partition)
        last = self._last[partition]
        before = last.get(send.ref)
        if before is None or not before.join(send):
            parcel = last[send.ref] = Parcel(send)
            self._waiting[partition].append(parcel)
        if partition not in self._in_flight:
            self._ready.add(partition)

    def ready(self) -> Iterator[tuple[Partition, deque[Parcel]]]:
        """Partitions with records and none in flight. The queue is the caller's to take records from its left, which
        are in flight from then on; `settle` ends that. Nothing joins what is in it.
        """
        ready, self._ready = self._ready, set()
        for partition in ready:
            if self._waiting[partition]:
                self._in_flight.add(partition)
                self._last[partition].clear()
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
        kept = [parcel for parcel in queue if parcel.send.ref not in refs]
        queue.clear()
        self._last[partition].clear()
        queue.extend(kept)


def last_refs(batch: Sequence[Send]) -> list[str]:
    """What is complete when the batch is acknowledged."""
    return [send.ref for send in batch if send.is_last]
