"""The worker's decisions: what is begun, published, handed back and acknowledged, and when.

Events in, effects out, times as arguments: microseconds since the epoch by the worker's clock. Slots say what may be
begun (`slot`), attempts what is published (`attempts`), quarantine who runs after the engine died (`quarantine`); this
module leads each dispatch through them to exactly one acknowledged end. It knows no broker and no event loop.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from pipeline.engines.protocol import Output
from pipeline.worker.cancels import REMEMBER_S, EarlyCancels, Place
from pipeline.worker.clock import BrokerClock
from pipeline.worker.copying import Copy
from pipeline.worker.effects import Acknowledge, Effect, Fatal
from pipeline.worker.jobs import Ending, Job, Jobs, Phase
from pipeline.worker.lifecycle import Lifecycle
from pipeline.worker.parking import Parkable, Parking, parkable
from pipeline.worker.resuming import Resume
from pipeline.worker.rows import Identity
from pipeline.worker.slot import SlotOwner, Taken
from pipeline.worker.telling import Headers, Teller
from pipeline.worker.watching import Gap
from topics.dispatches import Cancel, Dispatch
from topics.errors import PipelineError
from topics.fleet import Finished
from topics.responses import Response
from topics.texts import NOTHING_KEPT, TextRules

NOTHING_CHARGED: Final[Mapping[str, int]] = MappingProxyType({})


class WorkerCore:
    """Everything that a worker has taken, and what becomes of it.

    Args:
        identity: who this worker is.
        new_id: makes names of attempts: random, unique, short.
        return_partitions: of the topic of returned work.
        longest_deadline_s: that a request may have, in seconds; so long a cancellation waits for its request.
        texts: what the account may keep of the texts of each tenant.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        new_id: Callable[[], str],
        return_partitions: int,
        longest_deadline_s: float = REMEMBER_S,
        texts: TextRules = NOTHING_KEPT,
    ) -> None:
        self.clock = BrokerClock()
        self._teller = Teller(identity, return_partitions=return_partitions, texts=texts)
        self._life = Lifecycle(self._teller, new_id=new_id)
        self._letters: dict[str, tuple[SlotOwner, int]] = {}
        self._early = EarlyCancels(remember_s=longest_deadline_s)

    # What the worker holds

    @property
    def jobs(self) -> Jobs:
        """Dispatches at hand."""
        return self._life.jobs

    @property
    def dead_letters(self) -> Mapping[str, int]:
        """Records told to the dead letters since the start, by the code of the reason."""
        return self._teller.dead_letters

    @property
    def changes(self) -> int:
        """Grows whenever a heartbeat would say something else."""
        return self._life.changes

    @property
    def waiting(self) -> int:
        """Dispatches that have not been given to the engine."""
        resuming = sum(job.phase is Phase.RESUMING for job in self._life.following.values())
        return len(self._life.waiting) + len(self._life.quarantine) + resuming

    @property
    def parkable(self) -> Parkable:
        """What running work that yields would leave."""
        return parkable(self._life.running.values())

    @property
    def wake_at_us(self) -> int | None:
        """When to call `on_wake` at the latest; None while nothing is due."""
        due_ms = self._life.deadlines.next_ms
        return None if due_ms is None else (due_ms + self.clock.difference_ms) * 1000

    def take_finished(self) -> list[Finished]:
        """Requests that ended since the call before."""
        finished, self._life.finished = self._life.finished, []
        return finished

    # Events: the slots

    def on_taken(
        self, slot: SlotOwner, taken: Iterable[Taken], now_us: int, *, parking: Parking | None = None
    ) -> list[Effect]:
        """Records of a slot that are to be worked on, in log order. `parking` makes room for them, if given."""
        for record in taken:
            self.clock.observe(record.at_ms, now_us // 1000)
            if isinstance(record.record, Dispatch):
                self._take(Job(record, record.record, slot), now_us, parking)
            else:
                self._cancel(record.record, record, slot, now_us)
        return self._done()

    def on_unreadable(
        self,
        slot: SlotOwner,
        *,
        offset: int,
        key: bytes | None,
        value: bytes,
        headers: Headers,
        error: PipelineError,
    ) -> list[Effect]:
        """A record of a slot that cannot be worked on: it goes to the dead letters and is acknowledged after that."""
        ref = f"letter/{slot.partition}/{offset}"
        self._letters[ref] = (slot, offset)
        self._life.effects.append(
            self._teller.letter(
                ref,
                partition=slot.partition,
                offset=offset,
                key=key or b"",
                value=value,
                headers=headers,
                error=error,
            )
        )
        return self._done()

    def on_lost(self, slot: SlotOwner, now_us: int) -> list[Effect]:
        """The slot belongs to somebody else: nothing more is published for its requests."""
        slot.lose()
        self._early.forget(slot)
        for job in self._life.jobs:
            if job.slot is slot:
                self._keep_again(job, now_us)
                self._life.lose(job, now_us)
        self._life.begin_waiting(now_us)
        return self._done()

    def on_committed(self, now_us: int, *, is_held: bool = False) -> list[Effect]:
        """Commits went through: a slot that could not begin more may be able to now. `is_held`: the trace is too far
        behind, nothing more may begin.
        """
        self._life.is_held = is_held
        self._life.begin_waiting(now_us)
        return self._done()

    # Events: the engine

    def on_engine_ready(self, now_us: int) -> list[Effect]:
        """The engine takes sequences from now on."""
        self._life.engine_is_ready = True
        self._life.changes += 1
        self._life.effects.append(self._teller.worker_ready(now_us))
        self._life.begin_waiting(now_us)
        return self._done()

    def on_engine_dead(self, now_us: int, charged: Mapping[str, int] = NOTHING_CHARGED) -> list[Effect]:
        """The engine is gone, and with it all sequences that it had. `charged`: their engine time, by attempt."""
        self._life.engine_is_ready = False
        was_alone = len(self._life.running) == 1
        running, self._life.running = self._life.running, {}
        for name, job in running.items():
            if job.attempt is not None:
                job.attempt.gpu_ns += charged.get(name, 0)
            self._life.after_death(job, was_alone, now_us)
        for job in list(self._life.following.values()):
            self._life.takeovers.interrupt(job, now_us)
        return self._done()

    def on_outputs(self, outputs: list[Output], now_us: int) -> list[Effect]:
        """One engine step's outputs."""
        running = self._life.running
        for output in outputs:
            job = running.get(output.key)
            if job is None or job.attempt is None:
                continue
            record = job.attempt.on_output(output, now_us)
            if record is not None and job.ending is not Ending.LOST and job.ending is not Ending.UNDELIVERED:
                self._life.effects.append(self._teller.answer(job, record))
            if output.is_last:
                self._life.end(job, output, now_us)
        if self._life.quarantine.is_open and self._life.quarantine.advance():
            self._life.begin_waiting(now_us)
        return self._done()

    # Events: the broker

    def on_delivered(self, refs: Iterable[str], now_us: int) -> list[Effect]:
        """The last records of these refs are acknowledged by the broker, with all before them."""
        for ref in refs:
            letter = self._letters.pop(ref, None)
            if letter is not None:
                self._life.effects.append(Acknowledge(*letter))
                continue
            job = self._life.publishing.pop(ref, None)
            if job is not None:
                job.unsettled -= 1
                if job.unsettled == 0:
                    self._life.settle(job)
        return self._done()

    def on_undelivered(self, refs: Iterable[str], now_us: int) -> list[Effect]:
        """A record of each of these refs was refused: their attempts end, unacknowledged, and are made again."""
        for ref in refs:
            if ref in self._letters:
                self._life.effects.append(Fatal(f"dead letter {ref} was refused"))
            elif ref in self._life.running:
                self._life.abort(self._life.running[ref], Ending.UNDELIVERED)
            elif ref in self._life.following:
                self._life.follower_refused(self._life.following[ref], now_us)
            elif ref in self._life.publishing:
                self._life.refused(ref, self._life.publishing.pop(ref), now_us)
        return self._done()

    def on_log(self, found: Iterable[tuple[int, Response | Gap, int]], now_us: int) -> list[Effect]:
        """Records in log order, with their broker times in milliseconds, each for the job of a serial number that reads
        it: of its primary, or of its own.
        """
        readers: dict[int, Resume | Copy | None] = {}
        for serial, record, at_ms in found:
            job = self._life.jobs.at(serial)
            # One that has begun to read again meanwhile is told from the beginning, later.
            if job is None or readers.setdefault(serial, job.resume or job.copy) is not (job.resume or job.copy):
                continue
            if job.resume is not None:
                fate = job.resume.feed(record, at_ms)
                if fate is not None:
                    self._life.takeovers.step(job, fate, now_us)
            elif job.copy is not None:
                copied = job.copy.feed(record)
                if copied is not None:
                    self._life.copies.step(job, copied, now_us)
        if self._life.quarantine.is_open and self._life.quarantine.advance():
            self._life.begin_waiting(now_us)
        return self._done()

    # Events: time and the operator

    def on_wake(self, now_us: int) -> list[Effect]:
        """Time has passed: deadlines."""
        for serial in self._life.deadlines.due(self.clock.broker_ms(now_us // 1000)):
            job = self._life.jobs.at(serial)
            if job is not None:
                self._life.end_early(job, Ending.EXPIRED, now_us)
        return self._done()

    def on_tick(self, now_us: int) -> list[Effect]:
        """About once a second: cancellations that have waited long enough."""
        due = self._early.expire(now_us / 1e6)
        self._life.effects.extend(Acknowledge(place.slot, place.offset) for place in due)
        return self._done()

    def on_drain(self) -> list[Effect]:
        """Begin nothing more: what waits is handed back, what runs goes on."""
        self._life.is_draining = True
        self._life.changes += 1
        for job in self._life.jobs:
            if job.phase is Phase.WAITING or (job.phase is Phase.FOLLOWING and job.attempt is None):
                self._life.hand_back(job)
        return self._done()

    def on_grace_over(self, now_us: int) -> list[Effect]:
        """Hand back what still runs."""
        for job in self._life.jobs:
            if job.phase is Phase.FOLLOWING or (job.phase is Phase.RESUMING and job.ending is None):
                self._life.let_go(job, now_us)
        for job in list(self._life.running.values()):
            if job.ending is None:
                self._life.abort(job, Ending.RETURNED)
        return self._done()

    def slot_event(self, kind: str, slot: SlotOwner, now_us: int, reason: str = "") -> list[Effect]:
        """`slot.owned` or `slot.lost`, for the account."""
        self._life.changes += 1
        running = len(self._life.running)
        self._life.effects.append(
            self._teller.slot_event(
                kind, partition=slot.partition, term=slot.term, now_us=now_us, running=running, reason=reason
            )
        )
        return self._done()

    # Taking

    def _take(self, job: Job, now_us: int, parking: Parking | None) -> None:
        self._life.jobs.add(job)
        self._life.changes += 1
        was_cancelled, places = self._early.take(job.dispatch)
        for place in places:
            self._end_with(job, place)
        if was_cancelled:
            self._life.end_early(job, Ending.CANCELLED, now_us)
        elif job.dispatch.deadline_at_ms <= self.clock.broker_ms(now_us // 1000):
            self._life.end_early(job, Ending.EXPIRED, now_us)
        elif self._life.is_draining:
            self._life.hand_back(job)
        else:
            self._life.deadlines.add(job.serial, job.dispatch.deadline_at_ms)
            if parking is not None:
                self._life.make_room(job, parking)
            self._life.begin_or_wait(job, now_us)

    def _cancel(self, cancel: Cancel, taken: Taken, slot: SlotOwner, now_us: int) -> None:
        meant, place = self._life.jobs.meant_by(cancel), Place(cancel=cancel, slot=slot, offset=taken.offset)
        if not meant:
            self._keep(place, now_us)
            return
        self._end_with(meant[-1], place)
        for job in meant:
            self._life.end_early(job, Ending.CANCELLED, now_us)

    def _end_with(self, job: Job, place: Place) -> None:
        """The record of a cancellation is finished when the job is."""
        job.acknowledges.append((place.slot, place.offset))
        if place.slot is not job.slot:
            job.elsewhere = (*job.elsewhere, place)

    def _keep_again(self, job: Job, now_us: int) -> None:
        """A job is lost, and with it its part in cancellations of other slots: their records wait for it again."""
        for place in job.elsewhere:
            if place.slot.is_owned and job.phase is not Phase.PUBLISHING:
                self._keep(place, now_us)

    def _keep(self, place: Place, now_us: int) -> None:
        """A cancellation waits for its request."""
        free = self._early.keep(place.cancel, slot=place.slot, offset=place.offset, now_s=now_us / 1e6)
        self._life.effects.extend(Acknowledge(each.slot, each.offset) for each in free)

    def _done(self) -> list[Effect]:
        effects, self._life.effects = self._life.effects, []
        return effects
