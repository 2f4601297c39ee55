"""Taking shards over: reads what their former owners have left in the logs, then lets them begin.

Until then what comes for a shard waits, and its lanes are held. Shards that are assigned together are read together.
A former owner may be alive and not know yet that it is none (a zombie): it dispatches into the same slots after they
were read here. That is harmless. Its group refuses its commits, so nothing it takes is skipped; of two dispatches of
one request at the same hop the readers accept the attempt that begins first and ignore the other; and hops are given
for records of the returns topic alone, which its successor reads as well. It costs the work of a worker, no more.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Final, Protocol

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from processors.policy import Policy
from processors.recovery.legacy import Legacy
from processors.shard import Shard

logger = logging.getLogger(__name__)

BEGIN_WITHIN_S: Final = 20.0
"""Reading that has failed is tried again for so long. Then a shard begins without: what it does not know is done once
more, and ignored."""
FLUSH_S: Final = 5.0
"""What a broker does not take for so long is not waited for."""
NOT_ALLOWED: Final = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)
"""Trying again does not help: a shard begins without what it may not read."""
RETRY_S: Final = 0.5
SLICE: Final = 64
"""What waited is handled so many at a time, with a turn of the loop in between."""


class Histories(Protocol):
    """The logs of the past."""

    def read(self, legacies: Mapping[int, Legacy]) -> AsyncGenerator[None]:
        """Fill what the shards of these numbers have to know.

        Yields once, when they may begin; after that more ids are read, until it ends.
        """
        ...


class Rebuilding:
    """Leads shards from their assignment to their first decision.

    Args:
        histories: read in the background.
        policy: the model.
        replies: partitions of the response topics.
        flush: returns when everything that was decided here before is in the log: it may be of the same shards.
        begun: called when a shard has handled what waited.
    """

    def __init__(
        self,
        histories: Histories,
        policy: Policy,
        replies: Mapping[str, int],
        *,
        flush: Callable[[], Awaitable[None]],
        begun: Callable[[Shard], None],
    ) -> None:
        self._histories = histories
        self._policy = policy
        self._replies = replies
        self._flush = flush
        self._begun = begun
        self._joining: list[Shard] = []
        self._tasks: dict[asyncio.Task[None], list[Shard]] = {}

    def add(self, shard: Shard) -> None:
        """Rebuild a shard; what is put into its `waiting` is handled when it has begun."""
        self._joining.append(shard)
        if len(self._joining) == 1:
            task = asyncio.get_running_loop().create_task(self._run(self._joining), name="take-over")
            self._tasks[task] = self._joining
            task.add_done_callback(self._on_end)

    def prune(self) -> None:
        """Stop reading for shards that were closed."""
        for task, shards in self._tasks.items():
            if all(shard.is_closed for shard in shards):
                task.cancel()

    async def _run(self, shards: list[Shard]) -> None:
        await asyncio.sleep(0)  # those that are assigned together are told together
        self._joining = []
        began_s = time.monotonic()
        legacies = self._legacies(shards)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._flush(), FLUSH_S)
        while any(shard.waiting is not None and not shard.is_closed for shard in shards):
            try:
                async with aclosing(self._histories.read(legacies)) as reading:
                    await anext(reading)
                    await self._go_on(shards, legacies, began_s)
                    await self._learn_the_rest(reading, shards, legacies)
            except KafkaError as error:
                if isinstance(error, NOT_ALLOWED) or time.monotonic() > began_s + BEGIN_WITHIN_S:
                    logger.error("model %s: not all of the logs could be read: %r", self._model, error)
                    await self._go_on(shards, legacies, began_s)
                else:
                    logger.warning("model %s: the logs cannot be read: %r; trying again", self._model, error)
                    await asyncio.sleep(RETRY_S)
                    legacies = self._legacies(shards)
            except Exception:
                logger.exception("model %s: the logs could not be read", self._model)
                await self._go_on(shards, legacies, began_s)

    async def _go_on(self, shards: list[Shard], legacies: Mapping[int, Legacy], began_s: float) -> None:
        """Let those shards begin that are still ours and have not."""
        for shard in shards:
            if shard.is_closed or shard.waiting is None:
                continue
            legacy = legacies[shard.number]
            shard.begin(legacy)
            logger.info(
                "shard %s of model %s: %s dispatched, %s answered, %s in flight, %s to be cancelled, %s ids known, "
                "in %.2f s",
                shard.number,
                self._model,
                legacy.dispatched,
                legacy.answered,
                len(legacy.places),
                len(legacy.to_cancel),
                shard.scheduler.sharing.known,
                time.monotonic() - began_s,
            )
            await self._handle_waiting(shard)

    async def _handle_waiting(self, shard: Shard) -> None:
        handled = 0
        while shard.waiting and not shard.is_closed:
            handle = shard.waiting.popleft()
            try:
                handle()
            except Exception:  # one of many, and the others must not wait for ever
                logger.exception("shard %s of model %s: what waited could not be handled", shard.number, self._model)
            handled += 1
            if handled % SLICE == 0:
                await asyncio.sleep(0)
        shard.waiting = None
        if not shard.is_closed:
            self._begun(shard)

    async def _learn_the_rest(
        self, reading: AsyncGenerator[None], shards: list[Shard], legacies: Mapping[int, Legacy]
    ) -> None:
        """Know the older ids as well, as soon as they are read."""
        known = {number: len(legacy.identities) for number, legacy in legacies.items()}
        async for _ in reading:
            pass
        for shard in shards:
            legacy = legacies[shard.number]
            if not shard.is_closed and len(legacy.identities) > known[shard.number]:
                shard.scheduler.sharing.recall(legacy.identities.runs())
                logger.info(
                    "shard %s of model %s: %s ids known", shard.number, self._model, shard.scheduler.sharing.known
                )

    def _legacies(self, shards: list[Shard]) -> dict[int, Legacy]:
        legacies = {shard.number: Legacy(self._policy, shard.number, self._replies) for shard in shards}
        for legacy in legacies.values():
            legacy.siblings = [other for other in legacies.values() if other is not legacy]
        return legacies

    @property
    def _model(self) -> str:
        return self._policy.model

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("model %s: taking over has failed", self._model, exc_info=error)


class NoHistories:
    """Nothing is known of the past: shards begin at once."""

    async def read(self, legacies: Mapping[int, Legacy]) -> AsyncGenerator[None]:
        """Fill nothing."""
        yield
