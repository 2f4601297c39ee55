"""Open-loop load without an SDK in between: requests go out at their moments, and what comes back is timed.

One producer and one reader for all models under test, cheap enough to stand beside them on a small machine. Times count
from the moment a request was due, not from when it could be sent.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

import msgspec
from aiokafka import TopicPartition
from msgspec import Struct

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.codec import decode_response
from topics.names import RESPONSES, Lane
from topics.requests import DEFAULT_TENANT
from topics.responses import Delta, TerminalRecord, outcome_of

PARTITION: Final = 0
MAX_RECORDS: Final = 2000
AHEAD_S: Final = 0.5
"""Between being told to fire and the first moment."""


class Shot(Struct, kw_only=True, eq=False):
    """A request, and its story. Seconds count from when it was due; None for what did not happen.

    Attributes:
        at_s: when it is due, from the beginning of the load.
        prompt_tokens, answer_tokens: what it asks of a simulated engine.
        streams: whether it is answered token by token.
        tokens: how many have come.
        outcome: `completed`, `rejected` ..., or "" while it is under way.
    """

    at_s: float
    model: str
    latency_class: str
    prompt_tokens: int = 1
    answer_tokens: int = 1
    streams: bool = False
    tenant: str = DEFAULT_TENANT
    first_s: float | None = None
    last_s: float = 0.0
    ended_s: float | None = None
    tokens: int = 0
    outcome: str = ""
    retry_after_s: float | None = None

    @property
    def token_s(self) -> float:
        """Time per token after the first, of those that have come; 0 where there is none."""
        return (self.last_s - self.first_s) / (self.tokens - 1) if self.first_s is not None and self.tokens > 1 else 0.0

    def value(self, request_id: str) -> bytes:
        """The record on its lane. The prompt begins with its id: no two are alike."""
        prompt = f"{request_id} ".ljust(4 * self.prompt_tokens, "x")[: max(4 * self.prompt_tokens, 1)]
        body = {"prompt": prompt, "max_tokens": self.answer_tokens, "ignore_eos": True, "stream": self.streams}
        reply = {"topic": RESPONSES, "partition": PARTITION}
        return msgspec.json.encode({"id": request_id, "tenant": self.tenant, "reply": reply, "body": body})


class OpenLoop:
    """Fires shots and reads their answers; a context that is connected."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = kafka.producer(settings, client_id="bench-load", linger_ms=1)
        self._consumer = kafka.consumer(settings, client_id="bench-answers", fetch_max_wait_ms=200)
        self._waiting: dict[bytes, tuple[Shot, float]] = {}
        self._numbers = itertools.count()
        self._reading: asyncio.Task[None] | None = None
        self._is_fired = False
        self._is_over = asyncio.Event()

    async def __aenter__(self) -> Self:
        place = TopicPartition(RESPONSES, PARTITION)
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign([place])
        await self._consumer.seek_to_end(place)
        self._reading = asyncio.create_task(self._read(), name="answers")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._consumer.stop()
        await self._producer.stop()

    async def fire(self, shots: Iterable[Shot], *, drain_s: float) -> float:
        """Send all at their moments; return when all have ended, or `drain_s` after the last one.

        Returns:
            The most seconds that a shot went out late: more than a few milliseconds means that this machine was too
            busy to fire.
        """
        self._waiting.clear()
        self._is_over.clear()
        self._is_fired = False
        begin_s = time.monotonic() + AHEAD_S
        latest_s = 0.0
        for shot in sorted(shots, key=lambda shot: shot.at_s):
            due_s = begin_s + shot.at_s
            delay_s = due_s - time.monotonic()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            latest_s = max(latest_s, time.monotonic() - due_s)
            await self._send(shot, due_s)
        self._is_fired = True
        self._check_over()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._is_over.wait()
        return latest_s

    async def _send(self, shot: Shot, due_s: float) -> None:
        request_id = f"shot-{next(self._numbers)}"
        key = request_id.encode()
        self._waiting[key] = (shot, due_s)
        await self._producer.send(Lane(shot.model, shot.latency_class).topic, shot.value(request_id), key=key)

    async def _read(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=1000, max_records=MAX_RECORDS)
            now_s = time.monotonic()
            for records in batches.values():
                for record in records:
                    self._feed(record.key, record.value, now_s)

    def _feed(self, key: bytes | None, value: bytes | None, now_s: float) -> None:
        found = self._waiting.get(key or b"")
        if found is None or key is None or value is None:
            return
        shot, due_s = found
        record = decode_response(value)
        if isinstance(record, Delta) and record.token_ids:
            shot.last_s = now_s - due_s
            shot.first_s = shot.last_s if shot.first_s is None else shot.first_s
            shot.tokens += len(record.token_ids)
        elif isinstance(record, TerminalRecord):
            shot.ended_s = now_s - due_s
            shot.outcome = outcome_of(record)
            shot.retry_after_s = record.error.retry_after_s if record.error is not None else None
            del self._waiting[key]
            self._check_over()

    def _check_over(self) -> None:
        if self._is_fired and not self._waiting:
            self._is_over.set()
