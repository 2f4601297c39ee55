"""Reading one request back from its lane: where its answer goes, and since when there may be one."""

from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer

from pipeline.client.failures import AnswerNotFound
from pipeline.runtime.reading import Record, existing_partitions, record_at
from topics import names
from topics.codec import decode_request
from topics.errors import CodecError
from topics.requests import ReplyTo, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Where an answer is written, and the broker time in milliseconds before which it was not; None for unknown."""

    reply: ReplyTo | None
    at_ms: int | None


async def request_at(log: AIOKafkaConsumer, request_id: str, origin: str, *, reply: ReplyTo | None) -> Traces:
    """What the request at `origin` says of its answer. Assigns its partition to the consumer.

    Args:
        log: a consumer without a group.
        request_id: the id that it must have.
        origin: address of the request.
        reply: where the answer lies, if the caller knows.

    Raises:
        AnswerNotFound: there is no such request at that address, or it is not kept any more.
    """
    record = await _record(log, origin)
    if record is None:
        raise AnswerNotFound(f"there is no request at {origin}, or it is not kept any more; leave origin out")
    said = _request(record)
    if said.id != request_id:
        raise AnswerNotFound(f"the request at {origin} is {said.id!r}, not {request_id!r}")
    partitions = len(await existing_partitions(log, [names.RESPONSES]))
    by_hash = ReplyTo(topic=names.RESPONSES, partition=names.reply_partition(request_id, max(partitions, 1)))
    return Traces(reply=reply or said.reply or by_hash, at_ms=record.timestamp)


async def _record(log: AIOKafkaConsumer, origin: str) -> Record | None:
    try:
        topic, partition, offset = names.split_origin(origin)
    except ValueError as error:
        raise AnswerNotFound(f"{origin!r} is no address; expected topic/partition/offset") from error
    return await record_at(log, topic, partition, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    id: str
    reply: ReplyTo | None


def _request(record: Record) -> _Said:
    """The id and the reply of a request, also of one that is not valid: it was told so."""
    default_id = names.default_id(record.topic, record.partition, record.offset)
    try:
        read = decode_request(record.value or b"")
    except CodecError as error:
        raise AnswerNotFound(f"the record {default_id} is no request and has no answer: {error.message}") from error
    if isinstance(read, Request):
        return _Said(id=read.id or default_id, reply=read.reply)
    try:
        reply = msgspec.convert(read.value.reply, ReplyTo | None)
    except msgspec.ValidationError:
        reply = None
    return _Said(id=read.value.id if isinstance(read.value.id, str) else default_id, reply=reply)
