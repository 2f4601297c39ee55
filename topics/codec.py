"""Bytes to records and back, with limits. Every decoder validates; inside the pipeline the types are trusted.

Values are JSON, so that any Kafka tool can read them. Decoding raises `CodecError` for bytes that are no record of the
expected type; a request gets a second chance, because its sender can often still be told what is wrong with it.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from topics.control import ControlRecord
from topics.dispatches import Return, SlotRecord
from topics.errors import BodyTooLarge, CodecError, InvalidDeadline, InvalidReply, InvalidRequest, RequestError
from topics.feedback import Feedback
from topics.fleet import Heartbeat, LaneReport, WorkersRecord
from topics.requests import Cancellation, Request, Salvage
from topics.responses import Response

MAX_REQUEST_BYTES: Final = 1_048_576
"""Largest request value. A dispatch adds an envelope to it, so its topic allows `MAX_RECORD_BYTES`."""
MAX_RECORD_BYTES: Final = 2 * MAX_REQUEST_BYTES

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
_REQUEST = msgspec.json.Decoder(Request)
_SALVAGE = msgspec.json.Decoder(Salvage)
_SLOT: msgspec.json.Decoder[SlotRecord] = msgspec.json.Decoder(SlotRecord)
_RETURN = msgspec.json.Decoder(Return)
_RESPONSE: msgspec.json.Decoder[Response] = msgspec.json.Decoder(Response)
_HEARTBEAT = msgspec.json.Decoder(Heartbeat)
_WORKERS: msgspec.json.Decoder[WorkersRecord] = msgspec.json.Decoder(WorkersRecord)
_CANCELLATION = msgspec.json.Decoder(Cancellation)
_FEEDBACK = msgspec.json.Decoder(Feedback)
_CONTROL: msgspec.json.Decoder[ControlRecord] = msgspec.json.Decoder(ControlRecord)


def encode(record: msgspec.Struct) -> bytes:
    """JSON of any record type of this package."""
    return _ENCODER.encode(record)


class _Tagged(msgspec.Struct):
    type: str


_TAG = msgspec.json.Decoder(_Tagged)
_WORKERS_TYPES: Final = frozenset(str(record.__struct_config__.tag) for record in (Heartbeat, LaneReport))


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A request that cannot be served, with what could be read of it.

    `value` has the fields `id`, `tenant` and `reply` as far as they were readable: unchecked.
    """

    error: RequestError
    value: Salvage


def decode_request(value: bytes) -> Request | Malformed:
    """A request, or what is wrong with it where its sender can still be told.

    Raises:
        CodecError: the bytes are no JSON object at all, so that there is nobody to tell.
    """
    if len(value) > MAX_REQUEST_BYTES:
        return Malformed(error=_too_large(len(value)), value=_salvage(value))
    try:
        return _REQUEST.decode(value)
    except msgspec.ValidationError as error:
        return Malformed(error=_explain(str(error)), value=_salvage(value))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"request is no JSON: {error}") from error


def decode_slot_record(value: bytes) -> SlotRecord:
    """A record of a worker slot.

    Raises:
        CodecError: no record of a slot.
    """
    return _decode(_SLOT, value, "slot record")


def decode_return(value: bytes) -> Return:
    """A record of a returns topic.

    Raises:
        CodecError: no return.
    """
    return _decode(_RETURN, value, "return")


def decode_response(value: bytes) -> Response:
    """A record of a response topic.

    Raises:
        CodecError: no response.
    """
    return _decode(_RESPONSE, value, "response")


def decode_workers_record(value: bytes) -> WorkersRecord | None:
    """A record of a workers topic; None for one of a type that only newer releases know.

    Raises:
        CodecError: no record of such a topic.
    """
    try:
        return _WORKERS.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _decode(_TAG, value, "record of a workers topic").type in _WORKERS_TYPES:
            raise CodecError(f"not a record of a workers topic: {error}") from error
        return None


def decode_heartbeat(value: bytes) -> Heartbeat:
    """A record of a workers topic that is known to be a heartbeat.

    Raises:
        CodecError: no heartbeat.
    """
    return _decode(_HEARTBEAT, value, "heartbeat")


def decode_cancellation(value: bytes) -> Cancellation:
    """A record of the cancellations topic.

    Raises:
        CodecError: no cancellation.
    """
    return _decode(_CANCELLATION, value, "cancellation")


def decode_feedback(value: bytes) -> Feedback:
    """A record of the feedback topic.

    Raises:
        CodecError: no feedback, or one that says nothing.
    """
    return _decode(_FEEDBACK, value, "feedback")


def decode_control(value: bytes) -> ControlRecord:
    """A record of the control topic.

    Raises:
        CodecError: no control record.
    """
    return _decode(_CONTROL, value, "control record")


def _decode(decoder: msgspec.json.Decoder[T], value: bytes, what: str) -> T:
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a {what}: {error}") from error


def _salvage(value: bytes) -> Salvage:
    try:
        return _SALVAGE.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"request is no JSON object: {error}") from error


def _too_large(size: int) -> BodyTooLarge:
    return BodyTooLarge(f"request has {size} bytes, at most {MAX_REQUEST_BYTES} are accepted; shorten its body")


def _explain(message: str) -> RequestError:
    """The error of the field that msgspec names (`... - at `$.field``)."""
    field = message.rpartition("`$.")[2].rstrip("`") if "`$." in message else None
    match (field or "").partition(".")[0]:
        case "deadline_ms":
            return InvalidDeadline(f"{message}; give milliseconds from 1 to 604800000 (7 days)", param=field)
        case "reply":
            return InvalidReply(message, param=field)
        case _:
            return InvalidRequest(message, param=field)
