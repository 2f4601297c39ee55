"""A pipeline of one: reads a lane with a plain consumer and writes the response records that a test wants."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import TopicPartition

from pipeline.runtime import kafka, topics
from pipeline.settings import KafkaSettings
from topics import names
from topics.catalogue import Layout, ModelLayout, catalogue
from topics.codec import decode_cancellation, decode_request, encode
from topics.requests import Cancellation, ReplyTo, Request
from topics.responses import Completed, Delta, Mode, Response, Started, Usage


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it lies on the lane."""

    id: str
    origin: str
    reply: ReplyTo
    request: Request
    headers: tuple[tuple[str, bytes], ...]

    @property
    def body(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(self.request.body))

    def started(self, *, attempt: str = "a", mode: Mode = "fresh", hop: int = 0) -> Started:
        return Started(
            id=self.id,
            origin=self.origin,
            attempt=attempt,
            mode=mode,
            hop=hop,
            dispatch=f"inference.dispatch.m.v1/0/{hop}",
            term=0,
            deployment="m@v1",
        )

    def delta(self, seq: int, text: str, *, attempt: str = "a") -> Delta:
        return Delta(id=self.id, origin=self.origin, attempt=attempt, seq=seq, text=text, token_ids=[seq])

    def completed(self, next_seq: int, *, attempt: str = "a", body: dict[str, Any] | None = None) -> Completed:
        return Completed(
            id=self.id,
            origin=self.origin,
            attempt=attempt,
            next_seq=next_seq,
            finish_reason="stop",
            usage=Usage(prompt_tokens=3, completion_tokens=next_seq, total_tokens=3 + next_seq),
            timing_ms={"finished": 12.5},
            deployment="m@v1",
            body=None if body is None else msgspec.Raw(msgspec.json.encode(body)),
        )

    def whole(self, *words: str) -> list[Response]:
        """A whole streamed answer, a word a token."""
        deltas = [self.delta(seq, word) for seq, word in enumerate(words)]
        return [self.started(), *deltas, self.completed(len(words))]


Script = Callable[[Asked], Iterable[Response]]


class Responder:
    """Serves one lane of one model, answering in one pool ("" for the common one); it makes their topics."""

    def __init__(self, settings: KafkaSettings, *, model: str, pool: str) -> None:
        self.settings = settings
        self.lane = names.Lane(model, "interactive")
        self.pool = pool
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._cancelled: asyncio.Queue[Cancellation] = asyncio.Queue()
        self._script: Script | None = None

    async def __aenter__(self) -> Self:
        await topics.create(self.settings, self._catalogue())
        self.producer = kafka.producer(self.settings, client_id="responder")
        await self.producer.start()
        self._consumer = kafka.consumer(self.settings, client_id="responder")
        await self._consumer.start()
        places = [TopicPartition(self.lane.topic, 0), TopicPartition(names.CANCELLATIONS, 0)]
        self._consumer.assign(places)
        for place, end in (await self._consumer.end_offsets(places)).items():
            self._consumer.seek(place, end)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()
        await self.producer.stop()

    def answer_with(self, script: Script) -> None:
        """Answer every request from here on by itself."""
        self._script = script

    async def asked(self) -> Asked:
        """The next request."""
        return await asyncio.wait_for(self._asked.get(), 20)

    async def cancelled(self) -> Cancellation:
        """The next cancellation of this model."""
        return await asyncio.wait_for(self._cancelled.get(), 20)

    @property
    def cancellations_seen(self) -> int:
        return self._cancelled.qsize()

    async def say(self, asked: Asked, *records: Response) -> None:
        """Write response records where the request wants them."""
        futures = [
            await self.producer.send(
                asked.reply.topic, encode(record), key=asked.id.encode(), partition=asked.reply.partition
            )
            for record in records
        ]
        await asyncio.gather(*futures)

    async def _serve(self) -> None:
        async for record in self._consumer:
            if record.topic == names.CANCELLATIONS:
                cancellation = decode_cancellation(record.value)
                if cancellation.model == self.lane.model:
                    self._cancelled.put_nowait(cancellation)
                continue
            asked = _asked(record)
            self._asked.put_nowait(asked)
            if self._script is not None:
                await self.say(asked, *self._script(asked))

    def _catalogue(self) -> Any:
        model = ModelLayout(model=self.lane.model, classes=("interactive",), deployments=())
        layout = Layout(models=(model,), pools=(self.pool,) if self.pool else (), response_partitions=1)
        wanted = {self.lane.topic, names.responses_topic(self.pool), names.CANCELLATIONS, names.FEEDBACK}
        return tuple(topic for topic in catalogue(layout) if topic.name in wanted)


def _asked(record: Any) -> Asked:
    request = decode_request(record.value)
    assert isinstance(request, Request)
    assert request.id is not None
    assert request.reply is not None
    return Asked(
        id=request.id,
        origin=names.origin_of(record.topic, record.partition, record.offset),
        reply=request.reply,
        request=request,
        headers=tuple(record.headers),
    )
