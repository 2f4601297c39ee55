"""The judge of the chaos bench sees every way in which an answer can be wrong, and nothing where it is right."""

from collections.abc import Callable

import pytest

from pipeline.engines.simulated.text import advance, next_token, state_of
from tests.bench.chaos.judge import AnswerJudge, Expected, Problem, Violation, expected_answer
from topics.bodies import ChatBody, Message

TOKENS = 8
BODY = ChatBody(messages=[Message(role="user", content="Hello")])
RIGHT = expected_answer(BODY, TOKENS)
WORDS = [word if not i else f" {word}" for i, word in enumerate(RIGHT.text.split(" "))]


class Told:
    """An answer as it is told to the judge, and what the judge says."""

    def __init__(self, expected: Expected = RIGHT, *, streams: bool = True) -> None:
        self.violations: list[Violation] = []
        self.judge = AnswerJudge("r", reader="plain", expected=expected, blame=self.violations.append, streams=streams)

    def tokens(self, first: int, end: int, *, at: int | None = None) -> "Told":
        """Tokens `first .. end - 1` of the right answer, told from `seq` `at` on."""
        self.judge.on_tokens(first if at is None else at, list(RIGHT.token_ids[first:end]), "".join(WORDS[first:end]))
        return self

    def completed(self, usage: int = TOKENS) -> "Told":
        self.judge.on_terminal("completed", usage_tokens=usage)
        return self

    @property
    def problems(self) -> set[Problem]:
        return {violation.problem for violation in self.violations}


def test_a_right_answer_is_right_in_any_pieces() -> None:
    assert Told().tokens(0, 8).completed().problems == set()
    assert Told().tokens(0, 1).tokens(1, 1).tokens(1, 7).tokens(7, 8).completed().problems == set()


def test_a_restart_voids_what_came_before() -> None:
    told = Told().tokens(0, 5)
    told.judge.on_restart()
    assert told.tokens(0, 8).completed().problems == set()
    assert told.judge.restarts == 1


@pytest.mark.parametrize(
    ("tell", "problem"),
    [
        (lambda told: told.tokens(0, 7).completed(), Problem.LOST),
        (lambda told: told.tokens(0, 3).tokens(4, 8).completed(), Problem.LOST),
        (lambda told: told.tokens(0, 3).tokens(2, 8).completed(), Problem.DOUBLED),
        (lambda told: told.tokens(0, 8).tokens(7, 8).completed(), Problem.DOUBLED),
        (lambda told: told.tokens(0, 8).tokens(0, 1, at=8).completed(9), Problem.DOUBLED),
        (lambda told: told.tokens(0, 3).tokens(4, 8).tokens(3, 4).completed(), Problem.OUT_OF_ORDER),
        (lambda told: told.tokens(0, 3).tokens(2, 7, at=3).completed(), Problem.WRONG_CONTEXT),
        (lambda told: told.tokens(0, 3).tokens(4, 8, at=3).completed(), Problem.WRONG_CONTEXT),
        (lambda told: told.tokens(0, 8).completed(7), Problem.WRONG_CONTEXT),
        (lambda told: told.tokens(0, 8).completed().completed(), Problem.SECOND_TERMINAL),
        (lambda told: told.tokens(0, 8).completed().tokens(7, 8), Problem.AFTER_THE_END),
    ],
    ids=lambda value: value.value if isinstance(value, Problem) else "",
)
def test_every_wrong_answer_is_seen(tell: Callable[[Told], Told], problem: Problem) -> None:
    assert problem in tell(Told()).problems


def test_a_restart_after_the_end_is_seen() -> None:
    told = Told().tokens(0, 8).completed()
    told.judge.on_restart()
    assert told.problems == {Problem.AFTER_THE_END}


def test_an_answer_without_an_end_is_seen() -> None:
    told = Told().tokens(0, 8)
    told.judge.on_silence()
    assert told.problems == {Problem.NO_TERMINAL}


def test_an_end_that_is_no_completion_is_seen() -> None:
    told = Told().tokens(0, 2)
    told.judge.on_terminal("failed", "the engine crashed")
    assert told.problems == {Problem.NOT_COMPLETED}


def test_lost_text_is_seen_though_all_tokens_came() -> None:
    told = Told()
    told.judge.on_tokens(0, list(RIGHT.token_ids), RIGHT.text[:-1])
    assert told.completed().problems == {Problem.WRONG_TEXT}


def test_the_whole_text_of_an_answer_that_did_not_stream_is_compared() -> None:
    right, wrong = Told(streams=False).tokens(0, 4), Told(streams=False).tokens(0, 4)
    right.judge.on_whole(RIGHT.text)
    wrong.judge.on_whole(RIGHT.text.upper())
    assert (right.completed().problems, wrong.completed().problems) == (set(), {Problem.WRONG_TEXT})


def test_the_answer_to_another_request_is_seen_at_once() -> None:
    other = expected_answer(ChatBody(messages=[Message(role="user", content="Hello!")]), TOKENS)
    assert Told(other).tokens(0, 3).problems == {Problem.WRONG_CONTEXT}


@pytest.mark.parametrize("position", range(TOKENS - 1))
def test_one_wrong_token_in_the_context_shows_in_the_very_next(position: int) -> None:
    """Not for every token: two continuations agree in one of some eighty."""
    following = set()
    for wrong in range(20):
        state = state_of(BODY)
        for at in range(position + 1):
            state = advance(state, RIGHT.token_ids[at] if at < position else RIGHT.token_ids[at] + 1 + wrong)
        following.add(next_token(state))
    assert len(following) > 10
