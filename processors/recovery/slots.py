"""What worker slots say about the requests of a shard: which were dispatched, where to, and which are to be cancelled.

Records may come in any order: of several dispatches of a request the one with the highest hop counts, and the first of
these, as for readers of its answer. Nothing but what is asked for is kept.
"""

from collections.abc import Iterator, Mapping, Set
from typing import Final

from msgspec import Struct

from processors.dedupe.fingerprint import fingerprint_of, is_deterministic
from processors.events import Address
from processors.queueing.ticket import Key
from topics import names
from topics.bodies import decode_body
from topics.dispatches import Cancel, Dispatch
from topics.errors import RequestError
from topics.requests import ReplyTo

LIMIT: Final = 100_000
NEVER: Final = 1 << 63
"""Offset of what is not read again: a lane of a class that is not configured any more."""


class Found(Struct, kw_only=True, gc=False):
    """A request that was dispatched, and where it lies. `at_ms` is the broker time of that, as is `since_ms` of its
    first dispatch.

    `is_open`: its slot's owner has not acknowledged it. `fingerprint` is empty where its sender gave it no id.
    """

    origin: str
    key: Key
    id: str
    latency_class: str
    deployment: str
    slot: int
    offset: int
    hop: int
    at_ms: int
    since_ms: int
    produced_ms: int
    deadline_at_ms: int
    reply: ReplyTo
    fingerprint: bytes
    streams: bool
    is_open: bool
    is_copy: bool

    @property
    def rank(self) -> tuple[int, int, int]:
        """The higher of two counts."""
        return (self.hop, -self.at_ms, -self.offset)


class Place(Struct, kw_only=True, frozen=True):
    """Where a record of a slot lies. `is_open`: at or behind what the group of the slot's owner has committed."""

    deployment: str
    slot: int
    offset: int
    at_ms: int
    is_open: bool


class SlotScan:
    """The dispatches of one shard that its successor has to know.

    Args:
        committed: by lane topic, the first offset of the shard that is not committed.
        returned: origins of the requests whose hand-backs are not committed.
        limit: how many are kept at most; what comes after that is not known, and may be dispatched twice.
    """

    def __init__(self, committed: Mapping[str, int], *, returned: Set[str] = frozenset(), limit: int = LIMIT) -> None:
        self._committed = committed
        self._returned = returned
        self._limit = limit
        self._found: dict[str, Found] = {}
        self._cancelled: set[str] = set()

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Found]:
        return iter(self._found.values())

    def get(self, origin: str) -> Found | None:
        """The dispatch of a request, if it has one."""
        return self._found.get(origin)

    def is_cancelled(self, origin: str) -> bool:
        """Whether its cancellation lies in a slot."""
        return origin in self._cancelled

    def on_dispatch(self, record: Dispatch, at: Address, place: Place) -> None:
        """A dispatch of this shard; `at` is the address of the request that it is of."""
        is_read_again = at.offset >= self._committed.get(at.topic, NEVER) or record.origin in self._returned
        if not place.is_open and not is_read_again:
            return
        known = self._found.get(record.origin)
        if known is None and len(self._found) >= self._limit:
            return
        found = _found(record, at, place)
        if known is None or found.rank > known.rank:
            self._found[record.origin] = found

    def on_cancel(self, record: Cancel) -> None:
        """A cancellation that was put into a slot for a request of this shard."""
        if record.origin is not None and len(self._cancelled) < self._limit:
            self._cancelled.add(record.origin)


def _found(record: Dispatch, at: Address, place: Place) -> Found:
    fingerprint, streams = b"", False
    if record.id != names.default_id(*at):
        fingerprint, streams = asked(record)
    return Found(
        origin=record.origin,
        key=(record.tenant, record.id),
        id=record.id,
        latency_class=record.latency_class,
        deployment=place.deployment,
        slot=place.slot,
        offset=place.offset,
        hop=record.hop,
        at_ms=place.at_ms,
        since_ms=record.first_dispatched_at_ms or place.at_ms,
        produced_ms=record.stations.produced_at_us // 1000,
        deadline_at_ms=record.deadline_at_ms,
        reply=record.reply,
        fingerprint=fingerprint,
        streams=streams,
        is_open=place.is_open,
        is_copy=record.primary is not None,
    )


def asked(record: Dispatch) -> tuple[bytes, bool]:
    """Fingerprint of what a dispatch asks for, and whether its answer streams; no fingerprint for a broken body."""
    try:
        body = decode_body(record.endpoint, record.body)
    except RequestError:
        return b"", False
    return fingerprint_of(body, is_shared=is_deterministic(body)), body.stream
