"""Ids that came within the deduplication window, from the lanes, the newest records first. Pure.

An id is known by the newest request that came under it: its records in the log are a whole answer, also where it was
itself a copy. Where an id came with two bodies only the answers can tell which of them counts; `doubtful` names them.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from processors.admission.validation import Partitions, addressee_of
from processors.dedupe.fingerprint import fingerprint_of, is_deterministic
from processors.dedupe.runs import LIMIT, SKEW_MS, Run
from processors.events import Address
from processors.queueing.ticket import Key
from processors.recovery.answers import Fate, Question
from topics.bodies import decode_body, endpoint_of
from topics.codec import Malformed, decode_request
from topics.errors import CodecError, RequestError
from topics.requests import Request
from topics.responses import Completed, Rejected

DOUBTFUL: Final = 1_000
"""Ids with several bodies that are looked into; of the others the newest counts."""


class Seen(Struct, gc=False):
    """A request under an id, and when it came."""

    run: Run
    at_ms: int


class IdentityScan:
    """Collects ids of one shard.

    Args:
        replies: partitions of the response topics.
        window_s: how long an id is known after its request came.
        limit: how many ids are collected; when there are so many, `is_full`.
    """

    def __init__(self, replies: Partitions, *, window_s: float, limit: int = LIMIT) -> None:
        self._replies = replies
        self._window_s = window_s
        self._limit = limit
        self._seen: dict[Key, Seen] = {}
        self._several: dict[Key, list[Seen]] = {}
        self.records = 0
        """Requests that were looked at, with or without an id."""

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def is_full(self) -> bool:
        """Whether more of it is of no use."""
        return self.records >= self._limit

    def on_record(self, at: Address, timestamp_ms: int, value: bytes | None) -> None:
        """A committed record of a lane: a request that was dispatched or answered."""
        self.records += 1
        seen = self._read(at, timestamp_ms, value or b"")
        if seen is None:
            return
        key = seen.run.key
        newest = self._seen.get(key)
        if newest is None:
            self._seen[key] = seen
            return
        self._compare(newest, seen)
        if newest.at_ms < seen.at_ms:
            self._seen[key] = seen

    def came(self, key: Key, *, by_ms: int) -> bool:
        """Whether a request under an id had come by then."""
        seen = self._seen.get(key)
        return seen is not None and any(one.at_ms <= by_ms for one in self._several.get(key, (seen,)))

    def doubtful(self) -> list[Question]:
        """The requests whose answers say which body of an id counts."""
        return [
            Question(one.run.origin, one.run.id, one.run.reply, one.run.since_ms)
            for several in self._several.values()
            for one in several
        ]

    def decide(self, fates: Mapping[str, Fate]) -> None:
        """The answers of those in doubt. The oldest that has, or may get, an answer to be remembered counts."""
        for key, several in self._several.items():
            for one in sorted(several, key=lambda seen: seen.at_ms):
                if not _is_forgotten(fates.get(one.run.origin)):
                    self._seen[key] = one
                    break

    def runs(self) -> list[Run]:
        """What is known of each id, those that came first first."""
        return [seen.run for seen in sorted(self._seen.values(), key=lambda seen: seen.at_ms)]

    def _compare(self, known: Seen, other: Seen) -> None:
        """Two requests under one id, of which the first is known."""
        key = known.run.key
        if key in self._several:
            self._several[key].append(other)
        elif known.run.fingerprint != other.run.fingerprint and len(self._several) < DOUBTFUL:
            self._several[key] = [known, other]

    def _read(self, at: Address, timestamp_ms: int, value: bytes) -> Seen | None:
        try:
            request = decode_request(value)
            if isinstance(request, Malformed) or request.id is None:
                return None
            return Seen(self._run(at, timestamp_ms, request, request.id), timestamp_ms)
        except (CodecError, RequestError):
            return None

    def _run(self, at: Address, timestamp_ms: int, request: Request, request_id: str) -> Run:
        body = decode_body(request.endpoint or endpoint_of(request.body), request.body)
        return Run(
            at.origin,
            request_id,
            (request.tenant, request_id),
            fingerprint_of(body, is_shared=is_deterministic(body)),
            None,
            body.stream,
            0,
            addressee_of(at, request, self._replies).reply,
            "",
            timestamp_ms / 1000 + self._window_s,
            state="ended",
            since_ms=timestamp_ms - SKEW_MS,
        )


def _is_forgotten(fate: Fate | None) -> bool:
    """Whether it ended so that its id got a fresh chance."""
    if fate is None or fate.terminal is None or isinstance(fate.terminal, Completed):
        return False
    return not isinstance(fate.terminal, Rejected) or fate.terminal.attempt is None
