"""A modelled engine: every token is new, and it is remembered after which tokens of which question it was generated.

So a token that was generated in another context than the one in which a reader finds it shows. Text may come later than
its token, as with incomplete characters and stop strings.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.engines.protocol import EngineRequest, Output
from topics.bodies import ChatBody
from topics.errors import Cancelled
from topics.responses import Usage

PROMPT_TOKENS = 3


class Question(NamedTuple):
    """What is asked: how many tokens the answer has, how many come at once, and whether text lags by one token."""

    name: str
    tokens: int
    at_once: int
    lags: bool


class Context(NamedTuple):
    """Of a token: the question, and all tokens before it."""

    question: str
    before: tuple[int, ...]


@dataclass
class Library:
    """All questions, and every token that any engine ever made; token numbers are never used again."""

    questions: dict[str, Question] = field(default_factory=dict)
    contexts: list[Context] = field(default_factory=list)

    def generate(self, question: str, before: list[int]) -> int:
        self.contexts.append(Context(question, tuple(before)))
        return len(self.contexts) - 1


def text_of(tokens: list[int]) -> str:
    return "".join(f"{token} " for token in tokens)


def tokens_of(text: str) -> list[int]:
    return [int(word) for word in text.split()]


class _Sequence:
    def __init__(self, request: EngineRequest, library: Library) -> None:
        assert isinstance(request.body, ChatBody)
        content = request.body.messages[0].content
        assert isinstance(content, str)
        self.question = library.questions[content]
        self.tokens = list(request.continued)
        self.told = 0 if request.repeats_text else self._known(len(self.tokens))
        self.is_aborted = False

    def _known(self, count: int) -> int:
        """Of how many tokens the text is told when there are so many. What was held back comes with the last one."""
        return max(count - 1, 0) if self.question.lags and count < self.question.tokens else count

    def step(self, key: str, library: Library) -> Output:
        if self.is_aborted:
            return Output(key=key, error=Cancelled("aborted"), usage=self._usage())
        question = self.question
        missing = question.tokens - len(self.tokens)
        fresh = []
        for _ in range(min(question.at_once, missing)):
            fresh.append(library.generate(question.name, self.tokens))
            self.tokens.append(fresh[-1])
        is_last = len(self.tokens) >= question.tokens
        known = self._known(len(self.tokens))
        text = text_of(self.tokens[self.told : known])
        self.told = known
        return Output(
            key=key,
            text=text,
            token_ids=fresh,
            finish_reason="stop" if is_last else None,
            usage=self._usage() if is_last else None,
        )

    def _usage(self) -> Usage:
        count = len(self.tokens)
        return Usage(prompt_tokens=PROMPT_TOKENS, completion_tokens=count, total_tokens=PROMPT_TOKENS + count)


class Engine:
    """One replica."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._running: dict[str, _Sequence] = {}

    def __len__(self) -> int:
        return len(self._running)

    def submit(self, request: EngineRequest) -> None:
        self._running[request.key] = _Sequence(request, self._library)

    def abort(self, key: str) -> None:
        if key in self._running:
            self._running[key].is_aborted = True

    def step(self) -> list[Output]:
        outputs = [sequence.step(key, self._library) for key, sequence in self._running.items()]
        for output in outputs:
            if output.is_last:
                del self._running[output.key]
        return outputs

    def die(self) -> None:
        self._running.clear()
