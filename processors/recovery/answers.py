"""Which requests the response logs show to have ended or begun, though no dispatch of them was found. Pure.

Asked are requests whose lane offsets are not committed: their former owner may have answered them itself, or dispatched
them where nobody has looked. Records may come in any order; each request's are judged by the reader rule in log order.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from topics.codec import decode_response
from topics.reader import Reader, Verdict
from topics.requests import ReplyTo
from topics.responses import Response, Started, TerminalRecord

LIMIT: Final = 100_000
"""Records that are kept at most; those that are asked for are few, because most have been dispatched."""


class Question(NamedTuple):
    """A request whose answer is looked for. `since_ms` is the broker time before which none of it was written."""

    origin: str
    id: str
    reply: ReplyTo
    since_ms: int


class Fate(NamedTuple):
    """What the log says: the terminal record, or else that a worker has begun."""

    terminal: TerminalRecord | None


class AnswerScan:
    """Looks for the answers of some requests.

    Args:
        questions: which.
        limit: how many records are kept; those beyond are as if they were not in the log.
    """

    def __init__(self, questions: Iterable[Question], *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = 0
        self._asked: dict[ReplyTo, dict[bytes, set[str]]] = {}
        self._since_ms: dict[ReplyTo, int] = {}
        self._records: dict[str, list[tuple[int, Response]]] = {}
        for question in questions:
            by_id = self._asked.setdefault(question.reply, {})
            by_id.setdefault(question.id.encode(), set()).add(question.origin)
            since_ms = self._since_ms.get(question.reply, question.since_ms)
            self._since_ms[question.reply] = min(since_ms, question.since_ms)

    def spans(self) -> Iterator[tuple[ReplyTo, int]]:
        """The partitions to be read, each with the broker time to begin at in milliseconds."""
        return iter(self._since_ms.items())

    def on_record(self, reply: ReplyTo, offset: int, key: bytes | None, value: bytes | None) -> None:
        """A record of one of the partitions.

        Raises:
            CodecError: it is of an id that is asked for, and no response.
        """
        origins = self._asked.get(reply, {}).get(key or b"")
        if origins is None or value is None or self._kept >= self._limit:
            return
        record = decode_response(value)
        if record.origin in origins:
            self._kept += 1
            self._records.setdefault(record.origin, []).append((offset, record))

    def fates(self) -> dict[str, Fate]:
        """By origin, of those that are answered or begun."""
        judged = {origin: _judge(records) for origin, records in self._records.items()}
        return {origin: fate for origin, fate in judged.items() if fate is not None}


def _judge(records: list[tuple[int, Response]]) -> Fate | None:
    reader = Reader()
    is_begun = False
    for _, record in sorted(records, key=lambda found: found[0]):
        if reader.feed(record) is Verdict.ENDED and isinstance(record, TerminalRecord):
            return Fate(record)
        # An attempt of a processor names the request's own record instead of a dispatch, and is written with its end.
        is_begun |= isinstance(record, Started) and record.dispatch.startswith("inference.dispatch.")
    return Fate(None) if is_begun else None
