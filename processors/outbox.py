"""Getting outputs to the broker: in order, at least once, and retried for as long as it can help.

One task hands records to one idempotent producer, so that records of a partition keep their order. What a record
settles is reported when the broker has acknowledged it, and not before. A destination (a topic's partition) that
refuses a record is held: its records wait, sorted as they were put, until the refused ones are delivered one by one;
the other destinations go on. A record that is too large is not tried again as it is: a short dead letter takes its
place. It is bounded by what its owner takes in: the lanes are paused long before it grows large.
"""

import asyncio
import heapq
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed, RecordListTooLargeError

from processors.events import Address
from processors.output import Output, shortened
from topics.headers import Headers

__all__ = ["Client", "Outbox", "Output", "Producer"]

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
BURST_TURNS: Final = 64
"""Turns of the event loop, a record in each, that are waited for before what was put is sent."""

Destination = tuple[str, int | None]


class Client(Protocol):
    """What is needed of the client inside aiokafka's producer."""

    def force_metadata_update(self) -> Awaitable[Any]:
        """Ask the broker again which partitions there are; done when it has said so or could not be reached."""
        ...


class Producer(Protocol):
    """What is needed of aiokafka's producer: idempotent, `acks=all`, started."""

    @property
    def client(self) -> Client:
        """Its connection to the cluster."""
        ...

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> "asyncio.Future[Any]":
        """Queue a record; the future is done when the broker has acknowledged it.

        Raises:
            KafkaError: it was not queued; `MessageSizeTooLargeError` if it is larger than may be sent.
            AssertionError: the partition is not among those that were known when the client last asked.
        """
        ...


class _Entry(NamedTuple):
    """An output in its place. Numbers are unique, so that entries sort by them alone."""

    number: int
    output: Output
    is_short: bool = False

    @property
    def destination(self) -> Destination:
        return self.output.topic, self.output.partition


class _Held:
    """The records of a destination that has refused some; all up to `last_refused` are sent one by one."""

    def __init__(self) -> None:
        self.queue: list[_Entry] = []
        self.last_refused = -1
        self.is_refused = False
        self.is_spent = False
        self.is_stale = False


async def _pause() -> None:
    await asyncio.sleep(RETRY_S)


class Outbox:
    """Sends what is put into it. Everything here runs on the event loop that it is started on.

    Args:
        producer: not used by anyone whose records may hold up these.
        on_delivered: called on the event loop with what a delivered record settles.
        renew: called before the next try after the broker refused a batch: the sequence numbers of the batch are spent,
            so that the producer has to go on under another identity.
        pause: waits before a refused record is tried again.
    """

    def __init__(
        self,
        producer: Producer,
        on_delivered: Callable[[Address], None],
        *,
        renew: Callable[[], None],
        pause: Callable[[], Awaitable[None]] = _pause,
    ) -> None:
        self._producer = producer
        self._on_delivered = on_delivered
        self._renew = renew
        self._pause = pause
        self._count = 0
        self._waiting: deque[_Entry] = deque()
        self._held: dict[Destination, _Held] = {}
        self._flying: Counter[Destination] = Counter()
        self._changed = asyncio.Event()
        self._landed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._error: BaseException | None = None

    def put(self, output: Output) -> None:
        """Send a record, after all that were put before it for the same partition."""
        self._put(output)

    async def start(self) -> None:
        """Send in the background from now on."""
        self._spawn(self._run(), "outbox")

    async def join(self) -> None:
        """Wait until sending cannot go on; it never ends by itself.

        Raises:
            Exception: what ended it.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error

    async def flush(self) -> None:
        """Return when everything that was put is acknowledged by the broker."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Stop sending; what is not acknowledged then is not settled."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _put(self, output: Output, *, is_short: bool = False) -> None:
        self._waiting.append(_Entry(self._count, output, is_short))
        self._count += 1
        self._idle.clear()
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await self._burst()
            self._changed.clear()
            while self._waiting:
                entry = self._waiting.popleft()
                held = self._held.get(entry.destination)
                if held is None:
                    await self._send(entry, is_alone=False)
                else:
                    heapq.heappush(held.queue, entry)

    async def _burst(self) -> None:
        """Return when a turn of the event loop has put nothing more, after `BURST_TURNS` at the latest.

        Records that were fetched together come one per turn. The first would leave alone, and the others would have to
        wait for the broker's answer to it.
        """
        for _ in range(BURST_TURNS):
            seen = self._count
            await asyncio.sleep(0)
            if seen == self._count:
                return

    async def _recover(self, destination: Destination, held: _Held) -> None:
        """Deliver what a destination has refused, then what was put meanwhile, and let it go on."""
        while held.queue or held.is_spent or self._flying[destination]:
            if held.is_refused or not held.queue:
                await self._landing(destination)
            if held.is_refused:
                held.is_refused = False
                await self._pause()
                await self._repair(held)
            if held.queue:
                entry = heapq.heappop(held.queue)
                is_alone = entry.number <= held.last_refused
                await self._send(entry, is_alone=is_alone)
                if is_alone:
                    await self._landing(destination)
        del self._held[destination]
        logger.info("%s takes records again", _named(destination))
        self._rest()

    async def _repair(self, held: _Held) -> None:
        if held.is_stale:
            held.is_stale = False
            await self._producer.client.force_metadata_update()
        if held.is_spent:
            # Under another identity the broker would take what follows a refused batch before it is sent again.
            while busy := [to for to, state in self._held.items() if state.is_spent and self._flying[to]]:
                await self._landing(*busy)
            self._renew()
            for state in self._held.values():
                state.is_spent = False

    async def _landing(self, *destinations: Destination) -> None:
        """Return when no record is on its way to these."""
        while any(self._flying[destination] for destination in destinations):
            self._landed.clear()
            await self._landed.wait()

    async def _send(self, entry: _Entry, *, is_alone: bool) -> None:
        output = entry.output
        value = b"" if output.value is None and output.key is None else output.value
        self._flying[entry.destination] += 1
        try:
            future = await self._producer.send(
                output.topic, value, output.key, output.partition, headers=output.headers
            )
        except (KafkaError, AssertionError) as error:
            self._land(entry)
            if _is_the_end(error):
                raise
            self._refused(entry, error, is_alone=True, is_spent=False)
            self._rest()
        else:
            future.add_done_callback(partial(self._on_done, entry, is_alone))

    def _on_done(self, entry: _Entry, is_alone: bool, done: "asyncio.Future[Any]") -> None:
        self._land(entry)
        if done.cancelled():
            return
        error = done.exception()
        if error is not None and _is_the_end(error):
            self._fail(error)
        elif error is not None:
            self._refused(entry, error, is_alone=is_alone, is_spent=True)
        elif entry.output.settles is not None:
            self._on_delivered(entry.output.settles)
        self._rest()

    def _refused(self, entry: _Entry, error: BaseException, *, is_alone: bool, is_spent: bool) -> None:
        """Hold the destination of a record. What was too large by itself is replaced, what may have been is kept."""
        held = self._held.get(entry.destination)
        is_too_large = isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError)
        is_replaced = is_alone and is_too_large and not entry.is_short
        if held is None and (is_spent or not is_replaced):
            logger.warning("%s does not take a record: %r; trying until it does", _named(entry.destination), error)
            held = self._held[entry.destination] = _Held()
            self._spawn(self._recover(entry.destination, held), f"outbox {_named(entry.destination)}")
        if held is not None:
            held.is_refused |= is_spent or not is_replaced
            held.is_spent |= is_spent
            held.is_stale |= isinstance(error, AssertionError)
        if is_replaced:
            destination, settles = _named(entry.destination), entry.output.settles
            logger.error(
                "a record for %s is too large, a dead letter takes its place (%s): %s", destination, settles, error
            )
            self._put(shortened(entry.output), is_short=True)
        elif held is not None:
            held.last_refused = max(held.last_refused, entry.number)
            heapq.heappush(held.queue, entry)

    def _land(self, entry: _Entry) -> None:
        self._flying[entry.destination] -= 1
        if not self._flying[entry.destination]:
            del self._flying[entry.destination]
        self._landed.set()

    def _rest(self) -> None:
        if not self._waiting and not self._flying and not self._held:
            self._idle.set()

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._ended.set()


def _is_the_end(error: BaseException) -> bool:
    """Whether the producer will never send again: closed, or its sender died, which aiokafka tells as a bare error."""
    return isinstance(error, ProducerClosed) or type(error) is KafkaError


def _named(destination: Destination) -> str:
    topic, partition = destination
    return topic if partition is None else f"{topic}/{partition}"
