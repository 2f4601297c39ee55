"""One answer, collected from the log by the reader rule."""

from typing import Any

from msgspec import Struct

from topics.answers import said_in
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, FinishReason, Progress, Response, Usage


class Kept(Struct, kw_only=True, frozen=True):
    """A completed answer. `token_ids` are those that were in the log: not all of one that did not stream."""

    text: str
    token_ids: list[int]
    logprobs: Any
    finish_reason: FinishReason
    usage: Usage
    deployment: str
    kept_at_s: float

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        return 512 + len(self.text.encode()) + 36 * len(self.token_ids) + (len(repr(self.logprobs)) * 4)


class Collecting:
    """An answer so far. Log probabilities of streams are not kept: such an answer is left out."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._texts: list[str] = []
        self._token_ids: list[int] = []
        self._size = 0
        self.is_useless = False
        """Whether it can no longer become an answer worth keeping."""

    @property
    def size(self) -> int:
        """Bytes of text and tokens so far, about."""
        return self._size

    def feed(self, record: Response, *, now_s: float) -> Kept | None:
        """The next record of its log: the answer, when it is complete."""
        verdict = self._reader.feed(record)
        if verdict is Verdict.RESTARTED:
            self._texts.clear()
            self._token_ids.clear()
        elif verdict is Verdict.DELIVERED:
            self._add(record)
        elif verdict is Verdict.ENDED:
            self.is_useless = True
            return self._kept(record, now_s)
        return None

    def _add(self, record: Response) -> None:
        assert isinstance(record, Delta | Progress)
        self._token_ids += record.token_ids
        self._size += 36 * len(record.token_ids)
        if isinstance(record, Delta):
            self._texts.append(record.text)
            self._size += len(record.text)
            self.is_useless |= record.logprobs is not None

    def _kept(self, record: Response, now_s: float) -> Kept | None:
        if not isinstance(record, Completed) or record.usage is None or record.source is not None:
            return None
        text, logprobs = said_in(record.body)
        return Kept(
            text="".join(self._texts) + text,
            token_ids=self._token_ids,
            logprobs=logprobs,
            finish_reason=record.finish_reason,
            usage=record.usage,
            deployment=record.deployment or "",
            kept_at_s=now_s,
        )
