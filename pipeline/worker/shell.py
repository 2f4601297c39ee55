"""One worker at work: takes events to the core and carries out what it wants done. It decides nothing itself."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from pipeline.engines.protocol import Output, StepCounts
from pipeline.worker.assignment import Holding, SlotAssignor
from pipeline.worker.commits import Committer, TraceSink
from pipeline.worker.core import NOTHING_CHARGED, WorkerCore
from pipeline.worker.effects import Abort, Acknowledge, AddRow, Effect, Fatal, Follow, Leave, Send, Submit, Unfollow
from pipeline.worker.gpu_time import GpuTime
from pipeline.worker.group import Group
from pipeline.worker.heartbeats import NO_LIMITS, NO_LOAD, NO_STEPS, NO_TIMINGS, Condition, Heart
from pipeline.worker.intake import Intake, Record, SlotEvents
from pipeline.worker.parking import NOTHING, Parking
from pipeline.worker.prefixes import RecentPrefixes
from pipeline.worker.publisher import Publisher
from pipeline.worker.pulse import Pulse
from pipeline.worker.rows import Identity, Rows
from pipeline.worker.slot import SlotOwner, Taken
from pipeline.worker.supervisor import EngineSupervisor
from pipeline.worker.tail import Found, Tail
from pipeline.worker.watchdogs import FENCED_WITHIN_S, FenceWatch
from topics import names
from topics.dispatches import Owner
from topics.errors import PipelineError, TransportError
from topics.fleet import EngineKind, EngineMode, WorkerState
from topics.prefixes import prefix_hashes
from topics.trace_rows import RequestRow

logger = logging.getLogger(__name__)

ABORT_S: Final = 5.0
"""How long an engine may take to end aborted sequences when the grace period is over."""
MOVE_S: Final = 1.0
"""How long a worker stays after it has handed work back. Its leaving makes the others stop reading for a moment, and
that work, which somebody watches, has to be with them by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Started connections, each for one kind of traffic: bulk must not hold up tokens, nor tokens heartbeats."""

    consumer: AIOKafkaConsumer
    assignor: SlotAssignor
    """Of `consumer`."""
    answers: AIOKafkaProducer
    signals: AIOKafkaProducer
    trace: TraceSink
    make_reader: Callable[[], AIOKafkaConsumer]
    """A consumer without a group, not started: for answers that are copied or taken over."""


class Worker:
    """Wires the parts of one worker and runs them.

    Args:
        identity: who it is.
        clients: connections, which the caller starts and stops.
        engine: which kind `supervisor`, set by the caller, starts; `mode` says how that one batches.
        core: decides.
        rows: makes rows that the core does not.
        gpu_time: counts what the GPUs are paid for.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        clients: Clients,
        engine: EngineKind,
        mode: EngineMode,
        core: WorkerCore,
        rows: Rows,
        gpu_time: GpuTime,
    ) -> None:
        topic = names.dispatch_topic(identity.deployment)
        self.core = core
        self.slots: dict[int, SlotOwner] = {}
        self.state: WorkerState = "loading"
        self.is_ready = asyncio.Event()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets an exception when the worker cannot go on."""
        self.leaving: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()
        """Set when the worker is to drain and end, by an operator or by its own decision."""
        self.group = Group(clients.consumer, topic=topic)
        self.committer = Committer(self.slots, trace=clients.trace, after=self._on_committed)
        self.publisher = Publisher(
            clients.answers, on_delivered=self._on_delivered, on_undelivered=self._on_undelivered
        )
        self.tail = Tail(clients.make_reader, self._on_log)
        self.pulse = Pulse(
            clients.signals,
            topic=names.workers_topic(identity.model),
            worker=identity.worker,
            heart=Heart(identity, engine=engine, mode=mode),
            patient=self,
        )
        self.intake = Intake(
            clients.consumer,
            self.group,
            self.slots,
            topic=topic,
            markers=clients.signals,
            answers=clients.answers,
            owner=Owner(worker=identity.worker, run=identity.run),
            events=SlotEvents(
                on_taken=self._on_taken,
                on_unreadable=self._on_unreadable,
                on_owned=self._on_owned,
                on_lost=self._on_lost,
                on_fenced=self._on_fenced,
                on_skipped=self._on_skipped,
                on_fatal=self._on_fatal,
            ),
        )
        self.supervisor: EngineSupervisor | None = None
        self._batches_end = mode == "run_to_completion"
        self._prefixes = RecentPrefixes()
        self._trace = clients.trace
        self._rows = rows
        self._gpu_time = gpu_time
        self._fences = FenceWatch()
        clients.assignor.holding = self._holding
        self._idle = asyncio.Event()
        self._wake: asyncio.TimerHandle | None = None
        self._tick_at_s = 0.0

    # What heartbeats say

    @property
    def changes(self) -> int:
        """Grows whenever a heartbeat would say something else."""
        return self.core.changes

    def condition(self) -> Condition:
        """The worker at this moment, and what happened since the call before."""
        engine = self.supervisor.engine if self.supervisor is not None else None
        return Condition(
            state=self.state,
            load=engine.load() if engine is not None else NO_LOAD,
            limits=engine.limits if engine is not None else NO_LIMITS,
            waiting=self.core.waiting,
            parkable=NOTHING if self._batches_end else self.core.parkable,
            slots=[slot.heartbeat for slot in self.slots.values() if slot.is_owned],
            finished=self.core.take_finished(),
            steps=self._take_steps(),
            timings=engine.take_timings() if engine is not None else NO_TIMINGS,
            prefixes=self._prefixes.newest(),
        )

    def _take_steps(self) -> StepCounts:
        """Work since the call before, of an engine that is there; its time is busy time."""
        engine = self.supervisor.engine if self.supervisor is not None else None
        steps = engine.take_steps() if engine is not None else NO_STEPS
        self._gpu_time.on_busy(steps.busy_ns)
        if self.supervisor is not None:
            self.supervisor.on_steps(steps.steps)
        return steps

    def tell_gpu_time(self) -> None:
        """What the GPUs were paid for since the call before, for the account."""
        row = self._gpu_time.take(state=self.state, now_ns=time.monotonic_ns(), now_us=_now_us())
        self._trace.add(row)

    def on_steps(self, counts: StepCounts, interval_us: int) -> None:
        """Engine steps of about a second, for the account."""
        engine = self.supervisor.engine if self.supervisor is not None else None
        gpus = engine.gpus if engine is not None else 1
        self._trace.add(self._rows.steps(counts, gpus=gpus, interval_us=interval_us, now_us=_now_us()))
        self.tell_gpu_time()

    # The engine

    def deliver(self, outputs: list[Output]) -> None:
        """One engine step's outputs."""
        self._perform(self.core.on_outputs(outputs, _now_us()))
        if self._batches_end:
            self.pulse.hurry()

    def on_engine_ready(self) -> None:
        """An engine takes sequences."""
        if self.state == "loading":
            self.state = "ready"
        assert self.supervisor is not None and self.supervisor.engine is not None
        self._gpu_time.on_ready(gpus=self.supervisor.engine.gpus, now_ns=time.monotonic_ns())
        self.is_ready.set()
        self._perform(self.core.on_engine_ready(_now_us()))

    def on_engine_dead(self) -> None:
        """The engine is gone."""
        if self.state == "ready":
            self.state = "loading"
        self._prefixes.clear()
        self._take_steps()
        self._gpu_time.on_dead(time.monotonic_ns())
        engine = self.supervisor.engine if self.supervisor is not None else None
        charged = engine.charged() if engine is not None else NOTHING_CHARGED
        self._perform(self.core.on_engine_dead(_now_us(), charged))

    # The end

    def leave(self, leave: Leave) -> None:
        """Drain and end; the first reason counts."""
        if not self.leaving.done():
            self.leaving.set_result(leave)

    async def drain(self, grace_s: float) -> None:
        """Begin nothing more, finish what runs within the grace period and hand back the rest."""
        began_s, had_work = time.monotonic(), len(self.core.jobs) > 0
        self.state = "draining"
        self._perform(self.core.on_drain())
        if not await self._is_idle_within(grace_s):
            self._perform(self.core.on_grace_over(_now_us()))
            await self._is_idle_within(ABORT_S)
        if had_work:
            await asyncio.sleep(MOVE_S)
        elapsed_s = time.monotonic() - began_s
        logger.info("drained in %.1f s; %s dispatches are left to a successor", elapsed_s, len(self.core.jobs))

    def _holding(self) -> Holding:
        """The slots that are owned, with their dispatches at hand, for the group's next assignment."""
        owned = {slot.partition: slot for slot in self.slots.values() if slot.is_owned}
        jobs = Counter(job.slot.partition for job in self.core.jobs)
        generation = max((slot.generation for slot in owned.values()), default=-1)
        return Holding(generation=generation, jobs={partition: jobs[partition] for partition in owned})

    async def _is_idle_within(self, timeout_s: float) -> bool:
        if len(self.core.jobs):
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout_s)
        return not len(self.core.jobs)

    # Events

    def _on_taken(self, slot: SlotOwner, taken: Sequence[Taken]) -> None:
        engine = self.supervisor.engine if self.supervisor is not None else None
        parking = Parking(engine.load(), engine.limits) if engine is not None and not self._batches_end else None
        self._perform(self.core.on_taken(slot, taken, _now_us(), parking=parking))

    def _on_unreadable(self, slot: SlotOwner, record: Record, error: PipelineError) -> None:
        logger.warning("record %s/%s goes to the dead letters: %s", slot.partition, record.offset, error.code)
        self._perform(
            self.core.on_unreadable(
                slot,
                offset=record.offset,
                key=record.key,
                value=record.value or b"",
                headers=tuple(record.headers),
                error=error,
            )
        )

    def _on_owned(self, slot: SlotOwner) -> None:
        self._perform(self.core.slot_event("slot.owned", slot, _now_us()))

    def _on_lost(self, slot: SlotOwner, reason: str) -> None:
        now_us = _now_us()
        self._perform(self.core.slot_event("slot.lost", slot, now_us, reason))
        self._perform(self.core.on_lost(slot, now_us))

    def _on_fenced(self) -> None:
        logger.warning("the group has put this worker out, and taken its slots; it begins again as a new member")
        if self._fences.on_fenced(time.monotonic()):
            self._on_fatal(
                TransportError(
                    f"its group has put it out twice within {FENCED_WITHIN_S:g} s: it does not get to its heartbeats; "
                    "give it more CPU or raise kafka.session_timeout_ms"
                )
            )

    def _on_skipped(self, slot: SlotOwner, first: int, last: int) -> None:
        logger.error(
            "slot %s: records %s to %s are not in the log any more and are skipped", slot.partition, first, last
        )
        self._perform(self.core.slot_event("slot.skipped", slot, _now_us(), f"offsets {first} to {last} are gone"))

    def _on_delivered(self, refs: list[str]) -> None:
        self._perform(self.core.on_delivered(refs, _now_us()))

    def _on_undelivered(self, refs: list[str]) -> None:
        self._perform(self.core.on_undelivered(refs, _now_us()))

    def _on_log(self, found: Found) -> None:
        self._perform(self.core.on_log(found, _now_us()))

    def _on_committed(self, is_held: bool) -> None:
        now_us = _now_us()
        self._perform(self.core.on_committed(now_us, is_held=is_held))
        if now_us / 1e6 >= self._tick_at_s:
            self._tick_at_s = now_us / 1e6 + 1
            self._perform(self.core.on_tick(now_us))

    def _on_wake(self) -> None:
        self._wake = None
        self._perform(self.core.on_wake(_now_us()))

    def _on_fatal(self, error: BaseException) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)

    # Effects

    def _perform(self, effects: list[Effect]) -> None:
        publisher, engine = self.publisher, self.supervisor.engine if self.supervisor is not None else None
        has_sends = False
        for effect in effects:
            if isinstance(effect, Send):
                publisher.add(effect)
                has_sends = True
            elif isinstance(effect, AddRow):
                self._trace.add(effect.row)
                if isinstance(effect.row, RequestRow):
                    self._gpu_time.on_settled(effect.row.gpu_ns)
            elif isinstance(effect, Acknowledge):
                self.committer.acknowledge(effect.slot, effect.offset)
            elif isinstance(effect, Follow):
                self.tail.follow(effect.serial, effect.request)
            elif isinstance(effect, Unfollow):
                self.tail.unfollow(effect.serial)
            elif isinstance(effect, Fatal):
                self._on_fatal(TransportError(effect.reason))
            elif isinstance(effect, Leave):
                self.leave(effect)
            elif engine is not None:
                self._to_engine(effect)
        if has_sends:
            publisher.wake()
        self._after()

    def _to_engine(self, effect: Submit | Abort) -> None:
        assert self.supervisor is not None and self.supervisor.engine is not None
        engine = self.supervisor.engine
        if isinstance(effect, Submit):
            if engine.caches_prefixes:
                self._prefixes.use(prefix_hashes(effect.request.body))
            engine.submit(effect.request)
        else:
            engine.abort(effect.key)

    def _after(self) -> None:
        self.pulse.wake()
        if not len(self.core.jobs):
            self._idle.set()
        wake_at_us = self.core.wake_at_us
        if wake_at_us is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(wake_at_us - _now_us(), 0) / 1e6
        if self._wake is None or at_s < self._wake.when() - 0.001:
            if self._wake is not None:
                self._wake.cancel()
            self._wake = loop.call_at(at_s, self._on_wake)


def _now_us() -> int:
    return time.time_ns() // 1000
