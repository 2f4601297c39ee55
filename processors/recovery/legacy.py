"""What one shard's former owner has left: filled with records of the logs, then asked by its successor. Pure.

It is filled in this order: positions, what is not committed, slots, answers to `questions`, cancellations, ids. After
`conclude` it says what is in flight, what is known of ids, and of each record that is read again whether anything is
left to be done about it. Whatever is missing - a log was too long to be read, or is gone - costs no more than a
dispatch that is ignored by the readers of its answer, because another one of the same hop has begun.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from processors.admission.validation import Addressee, Partitions, addressee_of
from processors.dedupe.runs import SKEW_MS, Run
from processors.events import Address
from processors.policy import Policy
from processors.queueing.ticket import Key
from processors.recovery.answers import Fate, Question
from processors.recovery.cancelled import Kept, Past
from processors.recovery.identities import IdentityScan
from processors.recovery.slots import Found, SlotScan
from processors.routing.placements import Place
from topics.codec import decode_request, decode_return
from topics.dispatches import Return
from topics.errors import CodecError

DISPATCHED: Final = Fate(None)


class _Waiting(Struct, gc=False):
    """A record that is not committed: a request, or work that was handed back at `hop`."""

    at: Address
    origin: str
    addressee: Addressee
    at_ms: int
    produced_ms: int
    returned: Return | None = None


class Legacy:
    """Of one shard of a model.

    Args:
        policy: the model.
        number: of the shard.
        replies: partitions of the response topics.
    """

    def __init__(self, policy: Policy, number: int, replies: Partitions) -> None:
        self.number = number
        self.slots = SlotScan({})
        self.identities = IdentityScan(replies, window_s=policy.dedupe_window_s)
        self.cancellations = Past()
        self.seen_since_ms: int | None = None
        """All committed requests that were produced since then were told to `identities`; None if none were."""
        self.siblings: list[Legacy] = []
        """The model's other shards that are taken over with it: a request that one of them knows came to no other."""
        self.places: list[Place] = []
        """Dispatched requests that have not ended, once concluded."""
        self.to_cancel: list[Place] = []
        """Those of them whose cancellation did not reach their slot."""
        self.kept: list[Kept] = []
        """Cancellations that wait for their requests."""
        self.ended: list[Key] = []
        """Identities of requests that are not committed and were answered: a cancellation of one comes too late."""
        self.dispatched = 0
        self.answered = 0
        self._policy = policy
        self._replies = replies
        self._waiting: list[_Waiting] = []
        self._returned: set[str] = set()
        self._fates: dict[str, Fate] = {}
        self._settled: dict[Address, Fate] = {}
        self._met_ms: dict[Key, int] | None = None

    # Filling

    def begin(self, committed: Mapping[str, int]) -> None:
        """The first offset of the shard that is not committed, by topic of its lanes."""
        self.slots = SlotScan(committed, returned=self._returned)

    def on_waiting(self, at: Address, timestamp_ms: int, value: bytes | None) -> None:
        """A record of a lane that is not committed. One that is no request is left to whoever reads it again."""
        try:
            addressee = addressee_of(at, decode_request(value or b""), self._replies)
        except CodecError:
            return
        self._waiting.append(_Waiting(at, at.origin, addressee, timestamp_ms, timestamp_ms))

    def on_returned(self, at: Address, timestamp_ms: int, value: bytes | None) -> None:
        """A record of the returns topic that is not committed."""
        try:
            returned = decode_return(value or b"")
        except CodecError:
            return
        dispatch = returned.dispatch
        addressee = Addressee(dispatch.id, dispatch.tenant, dispatch.reply)
        produced_ms = dispatch.stations.produced_at_us // 1000
        self._waiting.append(_Waiting(at, dispatch.origin, addressee, timestamp_ms, produced_ms, returned))
        self._returned.add(dispatch.origin)

    @property
    def waiting_since_ms(self) -> int | None:
        """Broker time of the oldest record that is not committed; None if there is none."""
        return min((record.at_ms for record in self._waiting), default=None)

    def questions(self) -> list[Question]:
        """Requests that are not committed and not known to be dispatched: were they answered?"""
        return [
            Question(record.origin, record.addressee.id, record.addressee.reply, record.at_ms)
            for record in self._waiting
            if not self._is_dispatched(record)
        ]

    def on_answers(self, fates: Mapping[str, Fate]) -> None:
        """What became of those that `questions` named."""
        self._fates.update(fates)

    # Asking

    def conclude(self) -> None:
        """Everything is told that has to be known before the first decision."""
        for record in self._waiting:
            fate = self._fate(record)
            if fate is not None:
                self._settled[record.at] = fate
                self.dispatched += fate.terminal is None
                self.answered += fate.terminal is not None
                if fate.terminal is not None:
                    self.ended.append((record.addressee.tenant, record.addressee.id))
        self._place()
        unread_ms = [record.at_ms for record in self._waiting if record.returned is None]
        self.kept = self.cancellations.kept(is_early=self._is_early, unread_since_ms=min(unread_ms, default=None))

    def take(self, at: Address) -> Fate | None:
        """What became of a record that is read again, once; None where it has to be handled."""
        return self._settled.pop(at, None)

    @property
    def is_spent(self) -> bool:
        """Whether `take` has nothing left to say."""
        return not self._settled

    def runs(self) -> list[Run]:
        """What is known of ids, those that came first first."""
        return [*self.identities.runs(), *self._dispatched_runs()]

    def _is_dispatched(self, record: _Waiting) -> bool:
        found = self.slots.get(record.origin)
        if found is None or found.produced_ms != record.produced_ms:  # else of a lane that was deleted and made anew
            return False
        return record.returned is None or found.hop > record.returned.dispatch.hop

    def _fate(self, record: _Waiting) -> Fate | None:
        if self._is_dispatched(record):
            return DISPATCHED
        fate = self._fates.get(record.origin)
        if fate is not None and fate.terminal is None and record.returned is not None:
            return None  # what was begun is what was handed back
        return fate

    def _place(self) -> None:
        """Where the requests are that can be cancelled: in slots, and among the hand-backs."""
        places: dict[str, Place] = {}
        for found in self.slots:
            if found.is_open:
                places[found.origin] = self._placed(found)
        for record in self._waiting:
            if record.returned is not None and record.at not in self._settled:
                self._place_returned(record, record.returned, places)
        self.places = list(places.values())

    def _placed(self, found: Found) -> Place:
        place = Place(
            origin=found.origin,
            key=found.key,
            deployment=found.deployment,
            slot=found.slot,
            latency_class=self._class(found.latency_class),
            is_cancelled=self.slots.is_cancelled(found.origin),
            is_copy=found.is_copy,
        )
        if not place.is_cancelled and self.cancellations.means(found.key, found.produced_ms):
            self.to_cancel.append(place)
        return place

    def _place_returned(self, record: _Waiting, returned: Return, places: dict[str, Place]) -> None:
        dispatch = returned.dispatch
        key = (dispatch.tenant, dispatch.id)
        place = places.get(record.origin)
        if place is None:
            place = places[record.origin] = Place(
                origin=record.origin,
                key=key,
                deployment=dispatch.deployment,
                slot=0,
                latency_class=self._class(dispatch.latency_class),
                is_copy=dispatch.primary is not None,
            )
        is_cancelled = self.slots.is_cancelled(record.origin) or self.cancellations.means(key, record.produced_ms)
        place.is_cancelled |= is_cancelled

    def came(self, key: Key, *, by_ms: int) -> bool:
        """Whether a request of an identity is known to have come by then; asked when everything is told."""
        if self._met_ms is None:
            self._met_ms = self._meet()
        return self._met_ms.get(key, by_ms + 1) <= by_ms or self.identities.came(key, by_ms=by_ms)

    def _meet(self) -> dict[Key, int]:
        """When identities came whose requests are in slots or not committed."""
        met_ms: dict[Key, int] = {}
        for found in self.slots:
            met_ms[found.key] = min(found.produced_ms, met_ms.get(found.key, found.produced_ms))
        for record in self._waiting:
            key = (record.addressee.tenant, record.addressee.id)
            met_ms[key] = min(record.produced_ms, met_ms.get(key, record.produced_ms))
        return met_ms

    def _class(self, latency_class: str) -> str:
        known = latency_class in self._policy.classes
        return latency_class if known else self._policy.by_priority()[-1]

    def _is_early(self, key: Key, at_ms: int) -> bool:
        if self.seen_since_ms is None or at_ms < self.seen_since_ms:
            return False
        return not any(legacy.came(key, by_ms=at_ms) for legacy in (self, *self.siblings))

    def _dispatched_runs(self) -> Iterable[Run]:
        """The last one of an id counts: the newest that is generated, or else the newest copy."""
        window_s = self._policy.dedupe_window_s
        for found in sorted(self.slots, key=lambda one: (not one.is_copy, one.produced_ms)):
            if found.fingerprint:
                yield Run(
                    found.origin,
                    found.id,
                    found.key,
                    found.fingerprint,
                    None,
                    found.streams,
                    found.deadline_at_ms,
                    found.reply,
                    found.deployment,
                    found.produced_ms / 1000 + window_s,
                    state="dispatched" if found.is_open else "ended",
                    slot=found.slot,
                    since_ms=found.since_ms - SKEW_MS,
                )
