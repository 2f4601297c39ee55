"""The plain reader: a raw consumer and the thirty lines of `topics/README.md`, beside the rule as the product has it.

Both judge every record of every response partition; they must agree, and what they accept is judged token by token.
"""

import json
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition

from tests.bench.chaos.following import following
from tests.bench.chaos.judge import AnswerJudge
from tests.bench.chaos.ledger import Ledger
from tests.integration.client.documented import block
from topics import names
from topics.codec import decode_response
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, Progress, Response, Started, TerminalRecord, outcome_of

MAX_RECORDS: Final = 2000
ENDED_KEPT: Final = 2000
"""Ended answers whose further records are still judged: those of the last minute and more."""


@dataclass(slots=True)
class PlainAnswer:
    """One answer as it lies in the log."""

    judge: AnswerJudge
    prompt_tokens: int
    streams: bool = True
    origin: str = ""
    attempt: str | None = None
    reader: Reader = field(default_factory=Reader)
    documented: dict[str, Any] = field(
        default_factory=lambda: {"current": None, "next_seq": 0, "text": "", "ended": False}
    )

    @property
    def agrees(self) -> bool:
        """Whether both implementations of the rule have come to the same."""
        current = self.documented["current"] or {}
        mine = self.reader.current.attempt if self.reader.current else None
        return (current.get("attempt"), self.documented["next_seq"], self.documented["ended"]) == (
            mine,
            self.reader.next_seq,
            self.reader.has_ended,
        )


class PlainReader:
    """Reads all response partitions from their beginning; each request must be known before it is sent.

    Args:
        brokers: `host:port`.
        partitions: of the response topic.
        ledger: is told what was accepted.
        on_ended: is told of each answer that has ended.
    """

    def __init__(
        self, brokers: str, partitions: int, ledger: Ledger, on_ended: Callable[[PlainAnswer, str], None]
    ) -> None:
        self._brokers = brokers
        self._partitions = [TopicPartition(names.RESPONSES, p) for p in range(partitions)]
        self._ledger = ledger
        self._on_ended = on_ended
        self._answers: dict[str, PlainAnswer] = {}
        self._ended: deque[str] = deque()
        scope: dict[str, Any] = {}
        exec(compile(block("python"), "topics/README.md", "exec"), scope)
        self._accept: Callable[[dict[str, Any], dict[str, Any]], bool] = scope["accept"]

    @property
    def unended(self) -> list[PlainAnswer]:
        """Answers without a terminal record."""
        return [answer for answer in self._answers.values() if not answer.reader.has_ended]

    def expect(self, request_id: str, answer: PlainAnswer) -> None:
        """A request is about to be sent."""
        self._answers[request_id] = answer

    async def run(self) -> None:
        """Read until cancelled."""
        async with aclosing(following(self._brokers, self._partitions, max_records=MAX_RECORDS)) as log:
            async for batches in log:
                for records in batches.values():
                    for record in records:
                        self.feed(record.value, record.timestamp / 1000)

    def feed(self, value: bytes, at_s: float) -> None:
        """The next record of the log."""
        plain = json.loads(value)
        answer = self._answers.get(plain["id"])
        if answer is None:
            return
        answer.origin = answer.origin or plain["origin"]
        if plain["origin"] != answer.origin:
            answer.judge.on_disagreement(f"records of two origins: {answer.origin} and {plain['origin']}")
            return
        if not answer.documented["ended"] and self._accept(answer.documented, plain):
            answer.documented["ended"] = True
        record = decode_response(value)
        had = answer.reader.next_seq
        verdict = answer.reader.feed(record)
        self._tell(answer, record, verdict, had=had, at_s=at_s)
        if not answer.agrees:
            answer.judge.on_disagreement(f"the README's rule and the product's differ after {plain['type']} {verdict}")

    def _tell(self, answer: PlainAnswer, record: Response, verdict: Verdict, *, had: int, at_s: float) -> None:
        ledger, judge = self._ledger, answer.judge
        match verdict, record:
            case ((Verdict.STARTED | Verdict.RESTARTED), Started()):
                ledger.on_started(record.id, record, tokens=had, prompt_tokens=answer.prompt_tokens, at_s=at_s)
                if verdict is Verdict.RESTARTED:
                    judge.on_restart()
            case Verdict.DELIVERED, (Delta() | Progress()):
                ledger.on_tokens(record.id, len(record.token_ids), at_s)
                judge.on_tokens(record.seq, record.token_ids, record.text if isinstance(record, Delta) else "")
            case Verdict.ENDED, terminal:
                assert isinstance(terminal, TerminalRecord)
                self._end(answer, terminal, at_s)
            case Verdict.IGNORED, (Delta() | Progress()):
                ledger.on_ignored(len(record.token_ids))
            case _:
                pass

    def _end(self, answer: PlainAnswer, record: TerminalRecord, at_s: float) -> None:
        answer.attempt = record.attempt
        self._ledger.on_ended(record.id, at_s, streams=answer.streams)
        if isinstance(record, Completed) and not answer.streams:
            answer.judge.on_whole(whole_text(record.body))
        usage = record.usage.completion_tokens if record.usage else None
        detail = record.error.message if record.error else ""
        answer.judge.on_terminal(outcome_of(record), detail, usage_tokens=usage)
        self._ended.append(record.id)
        if len(self._ended) > ENDED_KEPT:
            del self._answers[self._ended.popleft()]
        self._on_ended(answer, record.id)


def whole_text(body: Any) -> str:
    """Text of an OpenAI chat response."""
    return str(body["choices"][0]["message"]["content"])
