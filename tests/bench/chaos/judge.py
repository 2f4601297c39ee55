"""Judges one answer as one reader got it: is it, token for token, what the request's hash chain says?

The simulated engine makes each token a hash of the request and of all tokens before it. So the whole answer is known
before it is asked for, and a token that was lost, doubled, moved or generated in a wrong context cannot hide. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pipeline.engines.simulated.text import advance, next_token, state_of, text_of
from topics.bodies import Body


class Problem(StrEnum):
    """What can be wrong with an answer."""

    LOST = "lost"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out_of_order"
    WRONG_CONTEXT = "wrong_context"
    WRONG_TEXT = "wrong_text"
    NO_TERMINAL = "no_terminal"
    SECOND_TERMINAL = "second_terminal"
    AFTER_THE_END = "after_the_end"
    NOT_COMPLETED = "not_completed"
    WRONG_ROW = "wrong_row"
    RULES_DIFFER = "rules_differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must never happen: in whose answer, who saw it, and the figures."""

    request_id: str
    reader: str
    problem: Problem
    detail: str


Blame = Callable[[Violation], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The one right answer."""

    token_ids: tuple[int, ...]
    text: str


def expected_answer(body: Body, tokens: int) -> Expected:
    """The first `tokens` tokens that follow on a request."""
    state, token_ids = state_of(body), []
    for _ in range(tokens):
        token_ids.append(next_token(state))
        state = advance(state, token_ids[-1])
    text = "".join(text_of(token_id, position) for position, token_id in enumerate(token_ids))
    return Expected(token_ids=tuple(token_ids), text=text)


class AnswerJudge:
    """One reader's view of one answer, record by record in the order in which the reader accepted them.

    Args:
        request_id: for messages.
        reader: whose view it is.
        expected: the right answer.
        blame: is told of each violation when it is found.
        streams: whether tokens are to come before the end; else any number of them may, and the whole text comes last.

    Attributes:
        next_seq: tokens so far.
        has_ended: whether a terminal record came.
        restarts: how often it began again.
    """

    def __init__(self, request_id: str, *, reader: str, expected: Expected, blame: Blame, streams: bool = True) -> None:
        self.next_seq = 0
        self.has_ended = False
        self.restarts = 0
        self._id = request_id
        self._reader = reader
        self._expected = expected
        self._blame = blame
        self._streams = streams
        self._text = ""
        self._missing: set[int] = set()

    def on_tokens(self, seq: int, token_ids: list[int], text: str) -> None:
        """Tokens `seq ..` and the text that came with them."""
        if self.has_ended:
            self._say(Problem.AFTER_THE_END, f"tokens from {seq} on came after the terminal record")
        self._text += text
        for position, token_id in enumerate(token_ids, seq):
            self._place(position)
            self._compare(position, token_id)

    def on_restart(self) -> None:
        """All tokens so far are void."""
        if self.has_ended:
            self._say(Problem.AFTER_THE_END, "it began again after the terminal record")
        self.restarts += 1
        self.next_seq, self._text = 0, ""
        self._missing.clear()

    def on_terminal(self, outcome: str, detail: str = "", *, usage_tokens: int | None = None) -> None:
        """The record that ends it; `usage_tokens` are the completion tokens that it accounts for, if it says so."""
        if self.has_ended:
            self._say(Problem.SECOND_TERMINAL, f"{outcome} after the end")
            return
        self.has_ended = True
        if outcome != "completed":
            self._say(Problem.NOT_COMPLETED, f"{outcome}: {detail}")
            return
        wanted = len(self._expected.token_ids)
        if self._streams:
            self._check_whole(wanted)
        if usage_tokens is not None and usage_tokens != wanted:
            self._say(Problem.WRONG_CONTEXT, f"usage tells of {usage_tokens} tokens instead of {wanted}")

    def on_whole(self, text: str) -> None:
        """The terminal record of an answer that did not stream: its whole text."""
        if text != self._expected.text:
            self._say(Problem.WRONG_TEXT, f"{len(text)} characters instead of {len(self._expected.text)}, or others")

    def on_silence(self, why: str = "") -> None:
        """Nothing more will come."""
        if not self.has_ended:
            self._say(
                Problem.NO_TERMINAL, f"ended nowhere, with {self.next_seq} of {len(self._expected.token_ids)} {why}"
            )

    def on_disagreement(self, detail: str) -> None:
        """Two implementations of the reader rule judge a record of it differently."""
        self._say(Problem.RULES_DIFFER, detail)

    def _check_whole(self, wanted: int) -> None:
        if self.next_seq != wanted or self._missing:
            problem = Problem.LOST if self.next_seq < wanted or self._missing else Problem.DOUBLED
            self._say(problem, f"completed with {self.next_seq} of {wanted} tokens, {len(self._missing)} never came")
        elif self._text != self._expected.text:
            self._say(Problem.WRONG_TEXT, f"{len(self._text)} characters instead of {len(self._expected.text)}")

    def _place(self, position: int) -> None:
        """Whether a token is where it belongs: right after the one before."""
        if position == self.next_seq:
            self.next_seq += 1
        elif position > self.next_seq:
            self._say(Problem.LOST, f"token {position} came where {self.next_seq} was next")
            self._missing.update(range(self.next_seq, position))
            self.next_seq = position + 1
        elif position in self._missing:
            self._missing.discard(position)
            self._say(Problem.OUT_OF_ORDER, f"token {position} came after {self.next_seq - 1}")
        else:
            self._say(Problem.DOUBLED, f"token {position} came again, {self.next_seq} was next")

    def _compare(self, position: int, token_id: int) -> None:
        right = self._expected.token_ids
        if position >= len(right):
            self._say(Problem.DOUBLED, f"token {position} of an answer that has {len(right)}")
        elif token_id != right[position]:
            self._say(Problem.WRONG_CONTEXT, f"token {position} is {token_id} instead of {right[position]}")

    def _say(self, problem: Problem, detail: str) -> None:
        self._blame(Violation(request_id=self._id, reader=self._reader, problem=problem, detail=detail))
