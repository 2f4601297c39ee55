"""Which answer a record belongs to."""

import pytest

from pipeline.client.answer import Answer, Cursor
from pipeline.client.inbox import Inbox
from pipeline.client.timeouts import NO_LIMITS
from tests.unit.client.builders import ORIGIN, completed, delta, started
from topics.codec import encode
from topics.errors import CodecError, TransportError
from topics.responses import Response

OTHER = ORIGIN + "9"


def _answer() -> Answer:
    return Answer(request_id="r", limits=NO_LIMITS)


def _say(inbox: Inbox, *records: Response, key: bytes | None = b"r") -> None:
    for record in records:
        inbox.feed(key, encode(record), 0.0)


def _text(answer: Answer) -> str:
    return "".join(d.text for d in answer.unread(Cursor()))


def test_records_go_to_the_answer_of_their_origin() -> None:
    inbox, answer = Inbox(), _answer()
    inbox.expect("r")
    inbox.open(answer, ORIGIN, 0.0)
    _say(inbox, started(origin=OTHER), delta(0, "other", origin=OTHER), started(), delta(0, "mine"))
    assert _text(answer) == "mine"


def test_records_before_the_acknowledgement_are_kept() -> None:
    inbox, answer = Inbox(), _answer()
    inbox.expect("r")
    _say(inbox, started(), delta(0, "early "))
    inbox.open(answer, ORIGIN, 0.0)
    _say(inbox, delta(1, "late"))
    assert _text(answer) == "early late"


def test_a_whole_answer_before_the_acknowledgement_is_over_at_once() -> None:
    inbox, answer = Inbox(), _answer()
    inbox.expect("r")
    _say(inbox, started(), delta(0, "all"), completed(1))
    inbox.open(answer, ORIGIN, 0.0)
    assert (answer.is_over, _text(answer), len(inbox)) == (True, "all", 0)


def test_two_requests_of_one_id_are_kept_apart_while_one_is_not_acknowledged() -> None:
    inbox, first, second = Inbox(), _answer(), _answer()
    inbox.expect("r")
    inbox.expect("r")
    inbox.open(first, ORIGIN, 0.0)
    _say(inbox, started(origin=OTHER), delta(0, "second", origin=OTHER), started(), delta(0, "first"))
    inbox.open(second, OTHER, 0.0)
    assert (_text(first), _text(second)) == ("first", "second")


def test_a_request_that_was_not_produced_leaves_nothing_behind() -> None:
    inbox = Inbox()
    inbox.expect("r")
    _say(inbox, started())
    inbox.disown("r")
    _say(inbox, started())
    assert (len(inbox), inbox.foreign) == (0, 1)


def test_records_of_others_are_not_even_decoded() -> None:
    inbox = Inbox()
    inbox.feed(b"theirs", b"no json", 0.0)
    inbox.feed(None, b"no json", 0.0)
    assert inbox.foreign == 2


def test_an_undecodable_record_of_ours_is_told() -> None:
    inbox = Inbox()
    inbox.expect("r")
    with pytest.raises(CodecError):
        inbox.feed(b"r", b"no json", 0.0)


def test_an_answer_that_has_ended_is_let_go() -> None:
    inbox, answer = Inbox(), _answer()
    inbox.expect("r")
    inbox.open(answer, ORIGIN, 0.0)
    assert len(inbox) == 1
    _say(inbox, started(), completed(0))
    assert (len(inbox), list(inbox)) == (0, [])


def test_a_forgotten_answer_gets_nothing_more() -> None:
    inbox, answer = Inbox(), _answer()
    inbox.expect("r")
    inbox.open(answer, ORIGIN, 0.0)
    inbox.forget(answer)
    inbox.forget(answer)
    _say(inbox, started(), delta(0, "x"))
    assert (_text(answer), len(inbox)) == ("", 0)


def test_open_answers_may_be_forgotten_while_they_are_looked_through() -> None:
    inbox = Inbox()
    answers = [Answer(request_id=name, limits=NO_LIMITS) for name in "abc"]
    for answer in answers:
        inbox.expect(answer.id)
        inbox.open(answer, ORIGIN, 0.0)
    for answer in inbox:
        answer.fail(TransportError("closed"))
        inbox.forget(answer)
    assert (len(inbox), [answer.is_over for answer in answers]) == (0, [True, True, True])
