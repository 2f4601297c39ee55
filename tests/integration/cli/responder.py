"""A pipeline in a few lines: answers what arrives on a lane by a script, through the real broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from pipeline.runtime import kafka
from pipeline.settings import Settings
from topics import names
from topics.codec import decode_request, encode
from topics.errors import QueueFull
from topics.requests import ReplyTo, Request
from topics.responses import Completed, Delta, ErrorBody, Rejected, Response, Started, Usage

Script = Callable[[str, str, Request], list[Response]]
"""The records of an answer, from id, origin and request."""


def answering(text: str, *, rejects: frozenset[str] = frozenset()) -> Script:
    """Answers everything with the same words, one token each, and rejects some ids."""

    def script(request_id: str, origin: str, request: Request) -> list[Response]:
        if request_id in rejects:
            error = ErrorBody.of(QueueFull("the lane is full"))
            return [Rejected(id=request_id, origin=origin, error=error)]
        words = text.split()
        usage = Usage(prompt_tokens=3, completion_tokens=len(words), total_tokens=3 + len(words))
        started = Started(
            id=request_id, origin=origin, attempt="a1", mode="fresh", hop=0, dispatch="d/0/0", term=0, deployment="m@v1"
        )
        streams = bool(msgspec.json.decode(request.body).get("stream"))
        deltas = [
            Delta(id=request_id, origin=origin, attempt="a1", seq=seq, text=f"{word} ", token_ids=[seq])
            for seq, word in enumerate(words)
        ]
        body = {"choices": [{"message": {"content": text}}], "usage": msgspec.to_builtins(usage)}
        completed = Completed(
            id=request_id,
            origin=origin,
            attempt="a1",
            next_seq=len(words) if streams else 0,
            usage=usage,
            finish_reason="stop",
            body=None if streams else msgspec.Raw(msgspec.json.encode(body)),
            deployment="m@v1",
        )
        return [started, *(deltas if streams else []), completed]

    return script


@contextlib.asynccontextmanager
async def responder(settings: Settings, lane: names.Lane, script: Script) -> AsyncIterator[list[str]]:
    """Answers while the block runs; gives the ids that it has seen."""
    seen: list[str] = []
    log = kafka.consumer(settings.kafka, lane.topic, client_id="responder")
    producer = kafka.producer(settings.kafka, client_id="responder")
    await log.start()
    await producer.start()

    async def serve() -> None:
        async for record in log:
            request = decode_request(record.value)
            assert isinstance(request, Request)
            request_id = request.id or names.default_id(record.topic, record.partition, record.offset)
            seen.append(request_id)
            reply = request.reply or ReplyTo(topic=names.RESPONSES, partition=0)
            origin = names.origin_of(record.topic, record.partition, record.offset)
            for response in script(request_id, origin, request):
                await producer.send_and_wait(
                    reply.topic, encode(response), key=request_id.encode(), partition=reply.partition
                )

    task = asyncio.create_task(serve())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await log.stop()
        await producer.stop()
