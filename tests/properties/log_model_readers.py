"""Readers of the answers in a modelled log: one who misses nothing and judges, the SDK, and the README's program."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import topics
from pipeline.client.answer import Answer
from pipeline.client.inbox import Inbox
from pipeline.client.timeouts import Limits
from tests.properties.log_model import Record, Violation
from tests.properties.log_model_engine import PROMPT_TOKENS, Context, Library, Question, text_of, tokens_of
from topics.codec import decode_response
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, Progress, Response, TerminalRecord, outcome_of


@dataclass
class Tape:
    """What the reader rule accepts of one answer. Each token has to follow on exactly the accepted ones before it."""

    question: Question
    library: Library
    excuses: set[str] = field(default_factory=set)
    """Ways to end, other than completed, for which there is a reason."""
    reader: Reader = field(default_factory=Reader)
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    end: TerminalRecord | None = None

    def feed(self, record: Response) -> None:
        verdict = self.reader.feed(record)
        if verdict is Verdict.RESTARTED:
            self.tokens.clear()
            self.text = ""
        elif verdict is Verdict.DELIVERED:
            assert isinstance(record, Delta | Progress)
            self._extend(record.token_ids)
            self.text += record.text if isinstance(record, Delta) else ""
        elif verdict is Verdict.ENDED:
            assert isinstance(record, TerminalRecord)
            self._end(record)

    def _extend(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            expected = Context(self.question.name, tuple(self.tokens))
            if self.library.contexts[token] != expected:
                raise Violation(f"token {token} of {self.library.contexts[token]} was accepted after {expected}")
            self.tokens.append(token)

    def _end(self, record: TerminalRecord) -> None:
        if self.end is not None:
            raise Violation(f"{self.question.name} has ended twice")
        self.end = record
        outcome = outcome_of(record)
        if not isinstance(record, Completed):
            if outcome not in self.excuses:
                raise Violation(f"{self.question.name} has ended {outcome} for no reason: {record.error}")
            return
        if record.body is not None:
            self.text = record.body["choices"][0]["message"]["content"]
            whole, published = tokens_of(self.text), list(self.tokens)
            self.tokens.clear()
            self._extend(whole)
            if whole[: len(published)] != published:
                raise Violation(f"the body says {whole}, before it was published {published}")
        if self.text != text_of(self.tokens):
            raise Violation(f"the text is {self.text!r}, the tokens are {self.tokens}")
        if len(self.tokens) != self.question.tokens:
            raise Violation(f"{len(self.tokens)} tokens of {self.question} were accepted")
        usage = record.usage
        if usage is None or (usage.prompt_tokens, usage.completion_tokens) != (PROMPT_TOKENS, len(self.tokens)):
            raise Violation(f"the usage of {self.question} is {usage}")


Ended = tuple[str, str, dict[str, Any]]
"""Origin, text, and the terminal record."""

README = Path(topics.__file__).parent / "README.md"


class _Over(Exception):
    """The plain consumer has read everything."""


class _Consumer:
    """What the README's program needs of confluent-kafka's."""

    log: Iterator[Record] = iter(())

    def __init__(self, settings: dict[str, Any]) -> None:
        self._records = type(self).log

    def assign(self, partitions: list[Any]) -> None:
        pass

    def poll(self, timeout_s: float) -> Any:
        record = next(self._records, None)
        if record is None:
            raise _Over
        return SimpleNamespace(value=lambda: record.value, error=lambda: None)


def _program() -> Any:
    """`answers` of the plain consumer that the README shows."""
    found = re.search(r"## A plain consumer\n.*?```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None, f"{README.name} shows no plain consumer"
    scope: dict[str, Any] = {}
    exec(compile(found[1], "topics/README.md", "exec"), scope)
    scope["Consumer"] = _Consumer
    return scope["answers"]


ANSWERS = _program()


def as_plain(records: Iterable[Record]) -> list[Ended]:
    """What the README's program yields."""
    ended: list[Ended] = []
    _Consumer.log = iter(records)
    with contextlib.suppress(_Over):
        for one in ANSWERS("brokers", "inference.responses", 0):
            ended.append(one)
    return ended


def as_sdk(records: Iterable[Record]) -> list[Ended]:
    """What the SDK's stream reader has of the same records, told in the same way."""
    inbox = Inbox()
    answers: dict[str, Answer] = {}
    ended: list[Ended] = []
    for message in records:
        record = decode_response(message.value)
        if record.origin not in answers:
            answers[record.origin] = answer = Answer(request_id=record.id, limits=Limits())
            inbox.expect(record.id)
            inbox.open(answer, record.origin, 0.0)
        was_over = answers[record.origin].is_over
        inbox.feed(message.key, message.value, 0.0)
        if answers[record.origin].is_over and not was_over:
            ended.append((record.origin, _text(answers[record.origin]), json.loads(message.value)))
    return ended


def _text(answer: Answer) -> str:
    return "".join(delta.text for delta in answer._deltas)
