"""Bytes to records: limits, and what can be said about requests that are no good."""

import json
from typing import Any

import pytest

from topics import codec
from topics.codec import MAX_REQUEST_BYTES, Malformed
from topics.errors import BodyTooLarge, CodecError, InvalidDeadline, InvalidReply, InvalidRequest
from topics.fleet import LaneFigures, LaneReport
from topics.requests import MAX_DEADLINE_MS, ReplyTo, Request
from topics.responses import Completed

BODY = {"messages": [{"role": "user", "content": "Hi"}]}
REPLY = {"topic": "inference.responses", "partition": 3}


def _decode(**fields: Any) -> Request | Malformed:
    return codec.decode_request(json.dumps({"body": BODY, **fields}).encode())


def _malformed(**fields: Any) -> Malformed:
    malformed = _decode(**fields)
    assert isinstance(malformed, Malformed)
    return malformed


def test_only_the_body_is_required() -> None:
    request = _decode()
    assert isinstance(request, Request)
    assert (request.id, request.tenant, request.reply, request.deadline_ms) == (None, "default", None, None)


def test_the_body_keeps_the_senders_bytes() -> None:
    request = codec.decode_request(b'{"body": {"a":  1.0, "a": 2}}')
    assert isinstance(request, Request)
    assert bytes(request.body) == b'{"a":  1.0, "a": 2}'


def test_a_full_envelope_is_read() -> None:
    request = _decode(id="a", tenant="t", reply=REPLY, deadline_ms=MAX_DEADLINE_MS, session="s")
    assert isinstance(request, Request)
    assert request.reply == ReplyTo(topic="inference.responses", partition=3)


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"body": {}', b"null"])
def test_what_is_no_json_object_has_nobody_to_tell(value: bytes) -> None:
    with pytest.raises(CodecError):
        codec.decode_request(value)


@pytest.mark.parametrize("deadline_ms", [0, -1, MAX_DEADLINE_MS + 1, "soon", 1.5])
def test_a_deadline_out_of_range_is_told(deadline_ms: object) -> None:
    malformed = _malformed(id="a", deadline_ms=deadline_ms)
    assert isinstance(malformed.error, InvalidDeadline)
    assert (malformed.error.param, malformed.value.id) == ("deadline_ms", "a")


@pytest.mark.parametrize("reply", ["inference.responses", {"topic": "t"}, {"topic": "t", "partition": -1}])
def test_an_unreadable_reply_is_told(reply: object) -> None:
    malformed = _malformed(reply=reply)
    assert isinstance(malformed.error, InvalidReply)
    assert malformed.value.reply == reply


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 257}, "id"),
        ({"id": 7}, "id"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": "t" * 129}, "tenant"),
        ({"session": "s" * 257}, "session"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
    ],
)
def test_a_field_that_is_no_good_is_named(fields: dict[str, object], param: str) -> None:
    malformed = _malformed(**fields)
    assert isinstance(malformed.error, InvalidRequest)
    assert malformed.error.param == param


def test_a_missing_body_is_told_to_its_sender() -> None:
    malformed = codec.decode_request(json.dumps({"id": "a", "tenant": "t", "reply": REPLY}).encode())
    assert isinstance(malformed, Malformed)
    assert "body" in malformed.error.message
    assert (malformed.value.id, malformed.value.tenant, malformed.value.reply) == ("a", "t", REPLY)


def test_a_request_of_the_largest_size_is_read() -> None:
    value = _of_size(MAX_REQUEST_BYTES)
    assert isinstance(codec.decode_request(value), Request)


def test_a_larger_request_is_told_with_both_sizes() -> None:
    malformed = codec.decode_request(_of_size(MAX_REQUEST_BYTES + 1))
    assert isinstance(malformed, Malformed)
    assert isinstance(malformed.error, BodyTooLarge)
    assert "1048577" in malformed.error.message and "1048576" in malformed.error.message


def _of_size(size: int) -> bytes:
    frame = len(b'{"body":{"prompt":""}}')
    return b'{"body":{"prompt":"' + b"x" * (size - frame) + b'"}}'


@pytest.mark.parametrize(
    "decode",
    [
        codec.decode_slot_record,
        codec.decode_return,
        codec.decode_response,
        codec.decode_heartbeat,
        codec.decode_cancellation,
        codec.decode_control,
    ],
)
@pytest.mark.parametrize("value", [b"", b"{}", b'{"type": "nonsense"}', b"\xff", b"[1]"])
def test_records_of_the_pipeline_are_right_or_no_records(decode: Any, value: bytes) -> None:
    with pytest.raises(CodecError, match="not a "):
        decode(value)


def test_a_record_of_a_workers_topic_that_only_newer_releases_know_is_told_from_a_broken_one() -> None:
    assert codec.decode_workers_record(b'{"type":"weather","sun":1}') is None
    with pytest.raises(CodecError, match=r"not a record of a workers topic: .*missing"):
        codec.decode_workers_record(b'{"type":"lanes","shard":0}')
    with pytest.raises(CodecError, match="not a record of a workers topic"):
        codec.decode_workers_record(b"[]")


def test_heartbeats_and_lane_reports_are_told_apart() -> None:
    report = LaneReport(processor="p", model="m", shard=0, at_ms=1, lanes=[LaneFigures(latency_class="bulk")])
    assert codec.decode_workers_record(codec.encode(report)) == report


def test_a_negative_count_is_no_record() -> None:
    with pytest.raises(CodecError, match="seq"):
        codec.decode_response(b'{"type":"delta","id":"a","origin":"o","attempt":"k","seq":-1,"text":"","token_ids":[]}')


def test_a_completed_record_carries_any_body() -> None:
    value = b'{"type":"completed","id":"a","origin":"o","finish_reason":"stop","body":{"choices":[{"text":"x"}]}}'
    record = codec.decode_response(value)
    assert isinstance(record, Completed)
    assert json.loads(codec.encode(record)) == {**json.loads(value), "v": 1}
