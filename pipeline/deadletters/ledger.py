"""Which dead letters were put back: told by marks that lie beside them on the dead-letter topic. Pure.

A replay writes a mark `replaying` for each letter, then the record, then a mark `replayed`. The first names the end of
the target partition at that moment, so that after a crash in between it is enough to look there from that offset on
whether the record has arrived. Two replays at once are told apart by the log's order: the mark that came first counts,
and gives way only once it is so old that whoever set it has given up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from topics.headers import DLQ_REPLAYED, DLQ_REPLAYING, DLQ_RUN, DLQ_TARGET, Headers, header

GIVEN_UP_MS: Final = 60_000
"""A replay ends its work on letters that it has marked within half of this, or gives them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A mark `replaying`: by which replay, when, and from which address on the record may lie."""

    run: str
    at_ms: int
    target: str


class Ledger:
    """What the marks say, fed in log order. Addresses of letters are `topic/partition/offset`."""

    def __init__(self) -> None:
        self._claims: dict[str, _Claim] = {}
        self._done: dict[str, str] = {}

    def feed(self, headers: Iterable[tuple[str, bytes]], at_ms: int) -> None:
        """The next mark, with its broker time."""
        said = list(headers)
        target = _text(said, DLQ_TARGET)
        if replayed := _text(said, DLQ_REPLAYED):
            self._done[replayed] = target
            self._claims.pop(replayed, None)
        elif replaying := _text(said, DLQ_REPLAYING):
            begun = Begun(run=_text(said, DLQ_RUN), at_ms=at_ms, target=target)
            claim = self._claims.setdefault(replaying, _Claim(first=begun, holder=begun))
            if at_ms - claim.holder.at_ms >= GIVEN_UP_MS:
                claim.holder = begun

    def replayed_at(self, letter: str) -> str | None:
        """Where the letter's record was put back; None if it was not, as far as is known."""
        return self._done.get(letter)

    def holder(self, letter: str) -> Begun | None:
        """The replay that may put the letter back and is not known to have done so."""
        claim = self._claims.get(letter)
        return None if claim is None else claim.holder

    def first(self, letter: str) -> Begun | None:
        """The oldest replay since which nobody is known to have put the letter back."""
        claim = self._claims.get(letter)
        return None if claim is None else claim.first


@dataclass(slots=True)
class _Claim:
    first: Begun
    holder: Begun


def begun_mark(letter: str, *, run: str, target: str) -> Headers:
    """Headers of the mark before a replay."""
    return [(DLQ_REPLAYING, letter.encode()), (DLQ_TARGET, target.encode()), (DLQ_RUN, run.encode())]


def done_mark(letter: str, *, run: str, target: str) -> Headers:
    """Headers of the mark after a replay."""
    return [(DLQ_REPLAYED, letter.encode()), (DLQ_TARGET, target.encode()), (DLQ_RUN, run.encode())]


def _text(headers: Headers, name: str) -> str:
    return (header(headers, name) or b"").decode(errors="replace")
