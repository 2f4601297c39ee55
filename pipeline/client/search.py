"""Finding one request's answer in the log by the request's id, and what of it a reader has not had yet. Pure."""

from dataclasses import dataclass

from pipeline.client.answer import Delta
from topics.codec import decode_response
from topics.names import model_of_origin
from topics.requests import ReplyTo
from topics.responses import Response, Started, Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which answer, and how much of it was read before.

    Attributes:
        after_seq: the last token that the reader has; -1 for none.
        restarts: how often the reader was told that the answer begins again.
        model: only requests to this model; None for any.
        origin: the request's address, where it is known.
        reply: where its answer lies, where that is known.
    """

    id: str
    after_seq: int = -1
    restarts: int = 0
    model: str | None = None
    origin: str | None = None
    reply: ReplyTo | None = None

    def is_news(self, delta: Delta, epoch: int) -> bool:
        """Whether the reader does not have this piece, which came after `epoch` restarts."""
        if epoch != self.restarts:
            return epoch > self.restarts
        return not delta.restarted and delta.last_seq > self.after_seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A request and the records of its answer so far, in log order."""

    origin: str
    reply: ReplyTo
    records: list[Response]

    @property
    def is_whole(self) -> bool:
        """Whether the beginning of the answer is among the records: an attempt, or an end without any."""
        first = self.records[0] if self.records else None
        return first is None or isinstance(first, Started) or (isinstance(first, Terminal) and first.attempt is None)


class Search:
    """The answers to requests of one id, as their records come along. Those of a partition must come in log order."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._key = wanted.id.encode()
        self._found: dict[str, tuple[int, Found]] = {}

    def feed(self, reply: ReplyTo, key: bytes | None, value: bytes, at_ms: int) -> None:
        """The next record of a response partition, with its broker time.

        Raises:
            CodecError: the record has the id and is no response.
        """
        if key != self._key:
            return
        record = decode_response(value)
        if self._is_meant(record.origin):
            _, found = self._found.setdefault(
                record.origin, (at_ms, Found(origin=record.origin, reply=reply, records=[]))
            )
            found.records.append(record)

    @property
    def newest(self) -> Found | None:
        """Of the requests that have this id the one whose answer began last."""
        if not self._found:
            return None
        return max(self._found.values(), key=lambda began: began[0])[1]

    def _is_meant(self, origin: str) -> bool:
        wanted = self._wanted
        if wanted.origin is not None:
            return origin == wanted.origin
        return wanted.model is None or model_of_origin(origin) == wanted.model
