"""One modelled worker: the product's core, slots, commits and outbox, and a shell that does what theirs does, in steps.

Between any two steps others may run, and a worker may stall for long or never run again. What its shell does in the
same order as `pipeline.worker.intake` and `pipeline.worker.shell` is not decided by them either.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, cast

from msgspec import structs

from pipeline.worker.commits import Committer
from pipeline.worker.effects import Abort, Acknowledge, AddRow, Effect, Fatal, Follow, Leave, Send, Submit, Unfollow
from pipeline.worker.outbox import Outbox, last_refs
from pipeline.worker.rows import Identity
from pipeline.worker.slot import SlotOwner, SlotState
from pipeline.worker.tail import ONE_CLOCK_MS
from pipeline.worker.watching import Gap
from tests.properties.log_model import Broker, Choices, Commit, Entry, Group, Place
from tests.properties.log_model_core import BoundedCore, Membership, Trace, finish
from tests.properties.log_model_engine import Engine, Library
from topics import names
from topics.codec import decode_response, decode_slot_record, encode
from topics.dispatches import Owner, Primary
from topics.responses import Response

DEPLOYMENT = "m@v1"
SLOTS = names.dispatch_topic(DEPLOYMENT)


@dataclass
class Surroundings:
    """What a worker is in; `on_append` hears of every record, `on_commit` of every commit that was accepted."""

    broker: Broker
    group: Group
    library: Library
    choices: Choices
    new_id: Callable[[], str]
    on_append: Callable[[list[Entry]], None]
    on_commit: Callable[[Mapping[int, Commit]], None]
    on_refused: Callable[[list[Send]], None]


class _Claim(NamedTuple):
    fresh: list[tuple[SlotOwner, Commit]]
    generation: int
    terms: list[int]


class _Following(NamedTuple):
    origin: str
    place: Place
    offset: int
    is_cut: bool


class Worker:
    """A process. `generation` is what it knows of its group; notices of the group wait in `assigned`.

    Attributes:
        proves: whether it commits after its marker, before it begins.
        awaits_broker: whether a record counts as written only when the broker has said so.
    """

    proves = True
    awaits_broker = True

    def __init__(self, name: str, world: Surroundings, *, skew_ms: int = 0) -> None:
        self.name = name
        self.generation = -1
        self.assigned: list[tuple[int, set[int]]] = []
        self.is_dead = False
        self._is_leaving = False
        self.slots: dict[int, SlotOwner] = {}
        self.engine: Engine | None = Engine(world.library)
        self._world = world
        self._skew_ms = skew_ms
        identity = Identity(worker=name, run=name, deployment=DEPLOYMENT)
        self.core = BoundedCore(identity, new_id=world.new_id, return_partitions=1)
        self._trace = Trace()
        self._committer = Committer(self.slots, trace=self._trace, after=lambda _: None)
        self._outbox = Outbox()
        self._in_flight: dict[Place, list[Send]] = {}
        self._claims: list[_Claim] = []
        self._positions: dict[int, int] = {}
        self._followed: dict[int, _Following] = {}
        self._perform(self.core.on_engine_ready(self.now_us))

    @property
    def now_us(self) -> int:
        return (self._world.broker.now_ms + self._skew_ms) * 1000

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do but to wait for others."""
        has_read = all(self._positions[p] >= self._log(p).end for p in self.slots)
        is_quiet = not self._claims and not self.assigned and not self._in_flight and not self._followed
        return has_read and is_quiet and not len(self.core.jobs) and all(s.is_owned for s in self.slots.values())

    @property
    def reads_from(self) -> float:
        """The first answer record that it has asked for and not read."""
        return min((following.offset for following in self._followed.values()), default=math.inf)

    # What it does, one thing at a time

    def steps(self) -> tuple[Callable[[], None], ...]:
        """Everything that may happen next, in the order in which an undisturbed worker does it."""
        return (self.read, self.run_engine, self.send, self.deliver, self.follow, self.claim, self.commit, self.wake)

    def turn(self) -> None:
        """A bit of everything."""
        self.join()
        for step in (self.claim, self.claim, *self.steps()):
            if not self.is_dead:
                step()

    def suspend(self) -> None:
        """A rebalance begins, of which it hears."""
        for slot in self.slots.values():
            slot.suspend()

    def join(self) -> None:
        """A rebalance has ended: keep what was owned without a gap, claim what is new, drop the rest."""
        for generation, partitions in self.assigned[:1]:
            self.assigned.pop(0)
            self.generation = generation
            kept = {p for p in partitions & self.slots.keys() if self.slots[p].reassigned(generation)}
            for partition in set(self.slots) - kept:
                self._lose(self.slots.pop(partition))
            self._open(partitions - kept)
            for partition in kept:
                self._positions[partition] = self.slots[partition].tracker.base

    def claim(self) -> None:
        """The next step of a claim: the markers, then the proof."""
        if not self._claims:
            return
        claim = self._claims.pop(0)
        if not claim.terms:
            terms = [self._mark(slot.partition) for slot, _ in claim.fresh]
            self._claims.append(claim._replace(terms=terms))
            return
        unchanged = {slot.partition: commit for slot, commit in claim.fresh}
        if self.proves and not self.try_commit(unchanged, claim.generation):
            if self.generation == claim.generation and any(s.state is not SlotState.LOST for s, _ in claim.fresh):
                self._claims.append(claim)
            return
        for (slot, _), term in zip(claim.fresh, claim.terms, strict=True):
            early = slot.owned(term)
            if slot.is_owned:
                self._perform(self.core.on_taken(slot, early, self.now_us))

    def read(self) -> None:
        """Some records of one slot."""
        if not self.slots or self.assigned:
            return
        ready = [p for p in self.slots if self._positions[p] < self._log(p).end] or list(self.slots)
        partition = self._world.choices.of(ready)
        slot = self.slots[partition]
        records = self._log(partition).read(self._positions[partition], 1 + self._world.choices.byte() % 4)
        was_lost = slot.state is SlotState.LOST
        taken = []
        for record in records:
            self._positions[partition] = record.offset + 1
            content = decode_slot_record(record.value)
            one = slot.on_record(content, offset=record.offset, at_ms=record.at_ms)
            taken += [one] if one is not None else []
        if slot.is_owned and taken:
            self._perform(self.core.on_taken(slot, taken, self.now_us))
        if slot.state is SlotState.LOST and not was_lost:
            self._lose(slot)
            if not self.assigned:
                self._open({partition})

    def run_engine(self) -> None:
        """One step of the engine; one that has died comes back."""
        if self.engine is None:
            self.engine = Engine(self._world.library)
            self._perform(self.core.on_engine_ready(self.now_us))
        elif len(self.engine):
            self._perform(self.core.on_outputs(self.engine.step(), self.now_us))

    def kill_engine(self) -> None:
        """The engine dies with all it runs."""
        self.engine = None
        self._perform(self.core.on_engine_dead(self.now_us))

    def send(self) -> None:
        """Hand what is ready to the broker's connection; what becomes of it is not known yet."""
        for place, queue in sorted(self._outbox.ready(), key=itemgetter(0)):
            count = 1 + self._world.choices.byte() % len(queue) if len(queue) > 1 else 1
            taken = [queue.popleft() for _ in range(count if count > 1 else len(queue))]
            self._in_flight[place] = [structs.replace(parcel.send, content=parcel.value) for parcel in taken]
            if not self.awaits_broker:
                self._perform(self.core.on_delivered(last_refs(self._in_flight[place]), self.now_us))

    def deliver(self) -> None:
        """A batch arrives and is acknowledged; or it is given up, whether it arrived or not."""
        if not self._in_flight:
            return
        place = self._world.choices.of(list(self._in_flight))
        batch = self._in_flight.pop(place)
        fate = self._world.choices.byte()
        if fate < 240:
            self._write(batch)
            self._outbox.settle(place)
            refs = last_refs(batch)
            if refs and self.awaits_broker:
                self._perform(self.core.on_delivered(refs, self.now_us))
            return
        if fate < 248:
            self._write(batch)
        refs = list(dict.fromkeys(send.ref for send in batch))
        self._world.on_refused(batch)
        self._outbox.drop(place, set(refs))
        self._outbox.settle(place)
        self._perform(self.core.on_undelivered(refs, self.now_us))

    def follow(self) -> None:
        """Some records of the answers that it copies or takes over."""
        for serial, following in list(self._followed.items()):
            if self._followed.get(serial) is not following:
                continue
            count = 1 + self._world.choices.byte() % 16
            records = self._world.broker.log(following.place).read(following.offset, count)
            found: list[tuple[int, Response | Gap, int]] = [(serial, Gap.CUT, 0)] if following.is_cut else []
            for record in records:
                response = decode_response(record.value)
                found += [(serial, response, record.at_ms)] if response.origin == following.origin else []
            end = records[-1].offset + 1 if records else following.offset
            self._followed[serial] = following._replace(offset=end, is_cut=False)
            if found:
                self._perform(self.core.on_log(found, self.now_us))

    def commit(self) -> None:
        """The trace is delivered, and what is finished is committed."""
        if self._world.choices.byte() < 224:
            self._trace.delivered = self._trace.mark
        finish(self._committer.commit(cast(Any, Membership(self.try_commit))))
        self._perform(self.core.on_committed(self.now_us))
        if self._is_leaving and not len(self.core.jobs):
            self.die()

    def wake(self) -> None:
        """Time has passed."""
        self._perform(self.core.on_wake(self.now_us))
        self._perform(self.core.on_tick(self.now_us))

    def drain(self) -> None:
        self._perform(self.core.on_drain())

    def end_grace(self) -> None:
        self._perform(self.core.on_grace_over(self.now_us))

    def die(self) -> None:
        """`kill -9`: what is on its way arrives, arrives late, or never."""
        self.is_dead = True
        for batch in self._in_flight.values():
            fate = self._world.choices.byte()
            if fate < 96:
                self._write(batch)
            elif fate < 176:
                self._world.broker.late.append(_entries(batch))

    # Inside

    def try_commit(self, offsets: Mapping[int, Commit], generation: int) -> bool:
        if self.generation != generation:
            return False
        accepted = self._world.group.commit(self.name, generation, offsets)
        if accepted:
            self._world.on_commit(offsets)
        return accepted and not self._world.choices.chance(0.03)

    def _open(self, partitions: set[int]) -> None:
        fresh = []
        for partition in sorted(partitions):
            commit = self._world.group.committed[partition]
            slot = SlotOwner(
                partition=partition, run=self.name, generation=self.generation, base=commit[0], metadata=commit[1]
            )
            self.slots[partition] = slot
            self._positions[partition] = commit[0]
            fresh.append((slot, commit))
        if fresh:
            self._claims.append(_Claim(fresh, self.generation, []))

    def _lose(self, slot: SlotOwner) -> None:
        self._perform(self.core.on_lost(slot, self.now_us))

    def _mark(self, partition: int) -> int:
        marker = Owner(worker=self.name, run=self.name)
        return self._world.broker.append((SLOTS, partition), b"", encode(marker)).offset

    def _log(self, partition: int) -> Any:
        return self._world.broker.log((SLOTS, partition))

    def _write(self, batch: list[Send]) -> None:
        self._world.on_append(_entries(batch))

    def _follow(self, serial: int, request: Primary) -> None:
        place = (request.reply.topic, request.reply.partition)
        log = self._world.broker.log(place)
        offset = log.since(max(request.since_ms - ONE_CLOCK_MS, 0))
        self._followed[serial] = _Following(request.origin, place, offset, 0 < log.first == offset)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._outbox.add(effect)
                case AddRow():
                    self._trace.add(effect.row)
                case Acknowledge():
                    self._committer.acknowledge(effect.slot, effect.offset)
                case Follow():
                    self._follow(effect.serial, effect.request)
                case Unfollow():
                    self._followed.pop(effect.serial, None)
                case Fatal():
                    self.die()
                case Leave():
                    self._is_leaving = True
                case Submit() if self.engine is not None:
                    self.engine.submit(effect.request)
                case Abort() if self.engine is not None:
                    self.engine.abort(effect.key)


def _entries(batch: list[Send]) -> list[Entry]:
    return [((send.topic, send.partition), send.key, send.value) for send in batch]
