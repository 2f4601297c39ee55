"""An idempotent producer that holds on to its records through an outage, and lets go when it is told to stop.

aiokafka retries the batches of an idempotent producer for ever, with one exception and one consequence that hurt: a
batch whose partition has had no leader for `request_timeout_ms` is given up, although its sequence numbers are spent,
so that the broker refuses whatever follows it; and `stop` waits for ever for a broker that is gone.

Only this module knows the insides of aiokafka's producer; the version is pinned.
"""

import asyncio
import logging
import math
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerClosed, ProducerFenced, UnknownProducerId
from aiokafka.producer.transaction_manager import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, PidAndEpoch

from pipeline.runtime.pacing import pace_produce
from pipeline.runtime.reconnecting import space_attempts

logger = logging.getLogger(__name__)

STOP_WITHIN_S: Final = 5.0
_CLOSE_WITHIN_S: Final = 2.0


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka ships no types
    """`AIOKafkaProducer` with idempotence, whose records fail only when the broker refuses them."""

    def __init__(self, *, client_id: str, **options: Any) -> None:
        super().__init__(client_id=client_id, enable_idempotence=True, **options)
        self._name = client_id
        self._message_accumulator._batch_ttl = math.inf
        pace_produce(self)
        space_attempts(self.client)

    async def stop(self) -> None:
        """Deliver what is left and disconnect; after 5 s without success give it up. Idempotent.

        Records that were given up fail with `ProducerClosed` for whoever waits for them.
        """
        try:
            await asyncio.wait_for(super().stop(), STOP_WITHIN_S)
        except TimeoutError:
            logger.warning("%s leaves records behind: no broker took them within %g s", self._name, STOP_WITHIN_S)
            await self._abandon()

    async def _abandon(self) -> None:
        sender = self._sender.sender_task
        if sender is not None:
            sender.cancel()
        self._fail_all()
        await asyncio.wait([asyncio.ensure_future(self.client.close())], timeout=_CLOSE_WITHIN_S)
        if sender is not None:
            await asyncio.wait([sender], timeout=_CLOSE_WITHIN_S)

    def _fail_all(self) -> None:
        accumulator = self._message_accumulator
        accumulator._pending_batches = _Lenient(accumulator._pending_batches)
        batches = [*accumulator._pending_batches, *(b for queue in accumulator._batches.values() for b in queue)]
        accumulator.fail_all(ProducerClosed())
        for batch in batches:
            for future in (batch._drain_waiter, *(future for future, _ in batch._msg_futures)):
                if future.done() and not future.cancelled():
                    future.exception()  # it was said once for all; who waits gets it all the same


class _Lenient(set[object]):
    """aiokafka removes a batch that waits for its next try once more when it fails."""

    def remove(self, element: object) -> None:
        self.discard(element)


def is_identity_lost(error: KafkaError) -> bool:
    """Whether the broker no longer knows how far this producer's sequence went: it lost acknowledged records."""
    return isinstance(error, OutOfOrderSequenceNumber | UnknownProducerId | ProducerFenced)


def renew_identity(producer: AIOKafkaProducer) -> None:
    """Let an idempotent producer go on as a fresh one: it asks for another producer id before the next batch.

    Records that failed with a lost identity were refused for certain and may be sent again.
    Source: KIP-360, which has the Java producer bump its epoch in the same case.
    """
    transactions = producer._txn_manager
    transactions._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
    transactions._pid_waiter = asyncio.get_running_loop().create_future()
    transactions._sequence_numbers.clear()
