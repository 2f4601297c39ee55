"""Which topics are recorded, and what becomes of a client's judgement."""

import math
from types import SimpleNamespace

import pytest

from sinks.recorder.logs import FEEDBACK_KP, feedback_log, trace_log
from topics.codec import encode
from topics.errors import CodecError, InvalidRequest
from topics.feedback import Feedback
from topics.trace import SCHEMAS


def a_record(value: bytes) -> SimpleNamespace:
    return SimpleNamespace(value=value, headers=(), offset=7, timestamp=1_795_000_000_123)


def test_partitions_of_two_topics_have_numbers_of_their_own() -> None:
    trace, feedback = trace_log(), feedback_log()
    assert (trace.kp(3), feedback.kp(3)) == (3, FEEDBACK_KP + 3)
    assert feedback.at(feedback.kp(3)) == ("inference.feedback", 3)


def test_a_judgement_becomes_a_row_at_the_time_of_its_record() -> None:
    said = Feedback(id="order-42", signal="thumbs", score=0.5, source="web", tenant="acme", model="m")
    message = feedback_log().message_of(a_record(encode(said)), FEEDBACK_KP)

    assert message is not None
    assert (message.table, message.kp, message.ko) == ("feedback", FEEDBACK_KP, 7)
    assert message.rows.schema.equals(SCHEMAS["feedback"])
    (row,) = message.rows.to_pylist()
    assert int(row.pop("ts").timestamp() * 1000) == 1_795_000_000_123
    who = {"request_id": "order-42", "tenant": "acme", "model": "m"}
    assert row == {**who, "signal": "thumbs", "score": 0.5, "label": "", "source": "web"}


def test_who_does_not_say_whose_answer_it_is_is_recorded_all_the_same() -> None:
    message = feedback_log().message_of(a_record(b'{"type":"feedback","id":"a","signal":"s","score":1}'), FEEDBACK_KP)

    assert message is not None
    (row,) = message.rows.to_pylist()
    assert (row["tenant"], row["model"]) == ("", "")


def test_a_label_has_no_score() -> None:
    said = encode(Feedback(id="order-42", signal="review", label="helpful"))
    message = feedback_log().message_of(a_record(said), FEEDBACK_KP)

    assert message is not None
    assert math.isnan(message.rows["score"][0].as_py())


@pytest.mark.parametrize("value", [b"", b"{}", b'{"type":"feedback","id":"a","signal":"s"}', b'{"id":1}'])
def test_what_says_nothing_is_no_feedback(value: bytes) -> None:
    with pytest.raises(CodecError):
        feedback_log().message_of(a_record(value), FEEDBACK_KP)


@pytest.mark.parametrize("fields", [{}, {"score": "much"}, {"label": "x" * 257}])
def test_a_caller_is_told_what_is_wrong(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="feedback"):
        Feedback.of(id="order-42", signal="thumbs", **fields)
