"""One answer as it arrives."""

import pytest

from pipeline.client.answer import Answer, Cursor, Delta
from pipeline.client.timeouts import Limits
from tests.unit.client.builders import an_answer, completed, delta, progress, rejected, started
from topics.errors import RejectedError, TransportError
from topics.responses import Response


def _feed(answer: Answer, *records: Response, at_s: float = 0.0) -> None:
    for record in records:
        answer.feed(record, at_s)


def test_accepted_deltas_are_unread_once() -> None:
    answer, cursor = an_answer(), Cursor()
    _feed(answer, started(), delta(0, "Hel"), delta(1, "lo"))
    assert answer.unread(cursor) == [
        Delta(text="Hel", token_ids=[100], seq=0),
        Delta(text="lo", token_ids=[101], seq=1),
    ]
    assert answer.unread(cursor) == []


def test_each_reader_has_its_own_pace() -> None:
    answer, quick, slow = an_answer(), Cursor(), Cursor()
    _feed(answer, started(), delta(0, "Hel"))
    first = answer.unread(quick)
    _feed(answer, delta(1, "lo"))
    assert [d.text for d in first + answer.unread(quick)] == ["Hel", "lo"]
    assert [d.text for d in answer.unread(slow)] == ["Hel", "lo"]


def test_logprobs_are_passed_on() -> None:
    answer = an_answer()
    _feed(answer, started(), delta(0, "x", logprobs={"content": []}))
    assert answer.unread(Cursor())[0].logprobs == {"content": []}


def test_what_the_reader_rule_ignores_is_not_seen() -> None:
    answer = an_answer()
    changes: list[int] = []
    answer.on_change = lambda: changes.append(1)
    _feed(answer, delta(0, "before it began"), started(), delta(0, "yes"), delta(0, "twice"), delta(5, "gap"))
    assert [d.text for d in answer.unread(Cursor())] == ["yes"]
    assert len(changes) == 2


def test_a_restart_drops_what_was_unread_and_says_so() -> None:
    answer, cursor = an_answer(), Cursor()
    again = started(attempt="b", mode="restart", hop=1)
    _feed(answer, started(), delta(0, "void"), again, delta(0, "good", attempt="b"))
    assert [(d.text, d.seq, d.restarted) for d in answer.unread(cursor)] == [("", 0, True), ("good", 0, False)]


def test_a_restart_is_told_to_a_reader_who_has_seen_the_void() -> None:
    answer, cursor = an_answer(), Cursor()
    _feed(answer, started(), delta(0, "void"))
    answer.unread(cursor)
    _feed(answer, started(attempt="b", mode="restart", hop=1))
    assert [d.restarted for d in answer.unread(cursor)] == [True]


def test_a_streamed_result_is_made_of_its_deltas() -> None:
    answer = an_answer()
    _feed(answer, started(), delta(0, "Hel"), delta(1, "lo"), completed(2))
    result = answer.result()
    assert (result.text, result.token_ids, result.body, result.restarts) == ("Hello", [100, 101], None, 0)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"message": {"role": "assistant", "content": "Hi"}}, "Hi"),
        ({"message": {"role": "assistant", "content": None, "tool_calls": []}}, ""),
        ({"text": "Hi"}, "Hi"),
    ],
)
def test_a_whole_result_is_made_of_its_body(choice: dict[str, object], text: str) -> None:
    answer = an_answer()
    _feed(answer, started(), progress(0), completed(1, body={"choices": [choice]}))
    assert (answer.result().text, answer.result().body) == (text, {"choices": [choice]})


def test_progress_is_not_shown() -> None:
    answer = an_answer()
    _feed(answer, started(), progress(0))
    assert answer.unread(Cursor()) == []


def test_a_terminal_that_is_not_completed_is_raised() -> None:
    answer = an_answer()
    _feed(answer, rejected())
    assert answer.is_over
    with pytest.raises(RejectedError):
        answer.result()


def test_an_answer_is_given_up_once_and_takes_nothing_after_it() -> None:
    answer = an_answer()
    answer.fail(TransportError("first"))
    answer.fail(TransportError("second"))
    _feed(answer, started(), delta(0, "late"))
    assert answer.unread(Cursor()) == []
    with pytest.raises(TransportError, match="first"):
        answer.result()


def test_an_answer_that_has_ended_cannot_be_given_up() -> None:
    answer = an_answer()
    _feed(answer, started(), completed(0))
    answer.fail(TransportError("late"))
    assert answer.result().finish_reason == "stop"


LIMITS = Limits(first_token_s=10, idle_s=3, total_s=100)


def _why(answer: Answer, now_s: float) -> str:
    late = answer.overdue(now_s)
    return "" if late is None else late.message


def test_the_first_token_may_take_longer_than_the_next_ones() -> None:
    answer = an_answer(limits=LIMITS, accepted_at_s=50.0)
    assert _why(answer, 59.9) == ""
    assert "first_token_s of 10 s" in _why(answer, 60.1)


def test_a_new_attempt_begins_the_wait_for_its_first_token_anew() -> None:
    answer = an_answer(limits=LIMITS)
    _feed(answer, started(), at_s=9.0)
    assert _why(answer, 18.9) == ""
    assert "first_token_s" in _why(answer, 19.1)


def test_after_tokens_silence_is_measured_from_the_last_accepted_record() -> None:
    answer = an_answer(limits=LIMITS)
    _feed(answer, started(), delta(0, "x"), at_s=5.0)
    _feed(answer, delta(7, "ignored"), at_s=7.9)
    assert _why(answer, 8.0) == ""
    assert "idle_s of 3 s" in _why(answer, 8.1)


def test_progress_counts_as_tokens() -> None:
    answer = an_answer(limits=LIMITS)
    _feed(answer, started(), progress(0), at_s=1.0)
    assert "idle_s" in _why(answer, 4.1)


def test_the_total_is_measured_from_the_acknowledgement() -> None:
    answer = an_answer(limits=LIMITS, accepted_at_s=1000.0)
    _feed(answer, started(), delta(0, "x"), at_s=1099.0)
    assert _why(answer, 1100.0) == ""
    assert "total_s of 100 s" in _why(answer, 1100.1)


def test_without_limits_nothing_is_overdue() -> None:
    assert _why(an_answer(), 1e9) == ""
