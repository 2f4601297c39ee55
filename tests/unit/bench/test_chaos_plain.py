"""The plain reader judges what both forms of the reader rule accept, and tells when they differ."""

import pytest

from tests.bench.chaos.judge import AnswerJudge, Problem, Violation, expected_answer
from tests.bench.chaos.ledger import Ledger
from tests.bench.chaos.plain import PlainAnswer, PlainReader
from topics.bodies import ChatBody, Message
from topics.codec import encode
from topics.responses import Completed, Delta, Mode, Response, Started, Usage

RIGHT = expected_answer(ChatBody(messages=[Message(role="user", content="Hello")]), 4)
WORDS = [word if not i else f" {word}" for i, word in enumerate(RIGHT.text.split(" "))]


class Log:
    """A log with one request in it, and who reads it."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.ended: list[str] = []
        self.ledger = Ledger()
        self.reader = PlainReader("nobody:1", 1, self.ledger, lambda answer, request_id: self.ended.append(request_id))
        judge = AnswerJudge("r", reader="plain", expected=RIGHT, blame=self.violations.append)
        self.answer = PlainAnswer(judge=judge, prompt_tokens=1)
        self.reader.expect("r", self.answer)

    def write(self, *records: Response) -> None:
        for record in records:
            self.reader.feed(encode(record), 0.0)

    @property
    def problems(self) -> set[Problem]:
        return {violation.problem for violation in self.violations}


def started(attempt: str, mode: Mode = "fresh", *, term: int = 1) -> Started:
    return Started(
        id="r", origin="o/0/0", attempt=attempt, mode=mode, hop=0, dispatch="d/0/7", term=term, deployment="m@v1"
    )


def tokens(attempt: str, first: int, end: int, *, at: int | None = None) -> Delta:
    text, token_ids = "".join(WORDS[first:end]), list(RIGHT.token_ids[first:end])
    return Delta(
        id="r", origin="o/0/0", attempt=attempt, seq=first if at is None else at, text=text, token_ids=token_ids
    )


def completed(attempt: str, next_seq: int = 4) -> Completed:
    usage = Usage(prompt_tokens=1, completion_tokens=4, total_tokens=5)
    return Completed(id="r", origin="o/0/0", attempt=attempt, next_seq=next_seq, finish_reason="length", usage=usage)


def test_an_answer_that_is_taken_over_is_right_and_its_former_owner_is_not_heard() -> None:
    log = Log()
    log.write(started("a"), tokens("a", 0, 2), started("b", "resume", term=2), tokens("a", 2, 3), tokens("b", 2, 4))
    log.write(completed("a"), completed("b"))
    assert (log.problems, log.ended, log.answer.attempt) == (set(), ["r"], "b")
    assert (log.ledger.accepted_tokens, log.ledger.ignored_tokens) == (4, 1)


def test_a_take_over_that_goes_on_in_the_wrong_place_is_seen() -> None:
    log = Log()
    log.write(started("a"), tokens("a", 0, 2), started("b", "resume", term=2), tokens("b", 1, 3, at=2))
    assert log.problems == {Problem.WRONG_CONTEXT}


def test_an_answer_that_is_cut_short_is_seen() -> None:
    log = Log()
    log.write(started("a"), tokens("a", 0, 3), completed("a", 3))
    assert log.problems == {Problem.LOST}


def test_rules_that_differ_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(log.reader, "_accept", lambda answer, record: False)
    log.write(started("a"))
    assert log.problems == {Problem.RULES_DIFFER}


def test_an_id_that_two_requests_have_is_seen() -> None:
    log = Log()
    log.write(started("a"))
    log.write(Started(id="r", origin="o/0/1", attempt="x", mode="fresh", hop=0, dispatch="d", term=1, deployment="m"))
    assert log.problems == {Problem.RULES_DIFFER}
