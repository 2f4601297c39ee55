"""A plain view of the pipeline for scenarios: requests in, records out, through aiokafka alone and none of the SDK."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import TopicPartition

from pipeline.runtime import kafka
from pipeline.settings import Settings
from topics import names
from topics.codec import decode_response
from topics.reader import Reader, Verdict
from topics.responses import Delta, Response, TerminalRecord, outcome_of


@dataclass(slots=True)
class Answer:
    """What the reader rule accepts of one request."""

    reader: Reader = field(default_factory=Reader)
    text: str = ""
    terminal: TerminalRecord | None = None
    accepted_terminals: int = 0

    def feed(self, record: Response) -> None:
        """Judge the next record."""
        verdict = self.reader.feed(record)
        if verdict is Verdict.RESTARTED:
            self.text = ""
        elif verdict is Verdict.DELIVERED and isinstance(record, Delta):
            self.text += record.text
        elif verdict is Verdict.ENDED:
            assert isinstance(record, TerminalRecord)
            self.terminal = record
            self.accepted_terminals += 1

    @property
    def outcome(self) -> str:
        """The terminal's type, or "open"."""
        return outcome_of(self.terminal) if self.terminal is not None else "open"


def chat(prompt: str, **fields: Any) -> bytes:
    """The value of a chat request."""
    envelope = {name: fields.pop(name) for name in ("id", "tenant", "deadline_ms", "reply") if name in fields}
    return msgspec.json.encode({**envelope, "body": {"messages": [{"role": "user", "content": prompt}], **fields}})


class Wire:
    """Plain clients of one cluster. Use as an async context."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.produced: list[str] = []
        """Origins of what was acknowledged, in order."""

    async def __aenter__(self) -> "Wire":
        """Connect the producer."""
        self._producer = kafka.producer(self._settings.kafka, client_id="scenario")
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave."""
        await self._producer.stop()

    async def send(self, lane: names.Lane, value: bytes) -> str:
        """Produce one value; returns its origin once the broker has it."""
        sent = await self._producer.send_and_wait(lane.topic, value)
        origin = names.origin_of(sent.topic, sent.partition, sent.offset)
        self.produced.append(origin)
        return origin

    async def send_at(self, lane: names.Lane, values: Iterable[bytes], *, rps: float) -> None:
        """Produce values at a constant rate, without waiting for one before the next."""
        loop = asyncio.get_running_loop()
        begin_s, tasks = loop.time(), []
        for i, value in enumerate(values):
            await asyncio.sleep(max(0.0, begin_s + i / rps - loop.time()))
            tasks.append(asyncio.create_task(self.send(lane, value)))
        await asyncio.gather(*tasks)

    async def answers(self, origins: Iterable[str], *, within_s: float) -> dict[str, Answer]:
        """Read the response topic from its beginning until every origin has ended, or the time is up."""
        open_origins = set(origins)
        answers: dict[str, Answer] = defaultdict(Answer)
        partitions = [TopicPartition(names.RESPONSES, p) for p in range(self._settings.topics.response_partitions)]
        log = kafka.consumer(self._settings.kafka, client_id="scenario-reader")
        await log.start()
        try:
            log.assign(partitions)
            await log.seek_to_beginning(*partitions)
            deadline_s = asyncio.get_running_loop().time() + within_s
            while open_origins and asyncio.get_running_loop().time() < deadline_s:
                for records in (await log.getmany(timeout_ms=200)).values():
                    for record in records:
                        response = decode_response(record.value)
                        answers[response.origin].feed(response)
                        if answers[response.origin].terminal is not None:
                            open_origins.discard(response.origin)
        finally:
            await log.stop()
        return dict(answers)
