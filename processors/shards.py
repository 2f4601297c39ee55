"""The shards of one model that this process owns: records in, scheduler, effects out.

Everything here runs on one event loop and none of it waits: outputs go to the outbox, rows to the trace, and an input
is acknowledged, in order, when both are safe. A shard lives from the assignment of its partitions to their revocation;
the next owner reads again what was not acknowledged.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol, assert_never

from msgspec import Struct

from processors.acks import OrderedAcks
from processors.batching.modes import ControllerFactory, controller_for
from processors.clock import BrokerClock
from processors.delivery import TraceShipper
from processors.effects import Answer, Dispatch, Effect, Forward, PauseLane, ResumeLane, Trace
from processors.events import Address, Arrival, Handback
from processors.outbox import Outbox, Output
from processors.policy import Identity, Policy
from processors.queueing.cancellations import Cancellations
from processors.rollcall import RollCall
from processors.scheduler import Scheduler
from topics import names
from topics.codec import decode_request, decode_response, decode_return, encode
from topics.control import ControlRecord, DeploymentState
from topics.errors import CodecError, PipelineError
from topics.fleet import Heartbeat, LaneReport
from topics.headers import Headers, dead_letter
from topics.requests import Cancellation

logger = logging.getLogger(__name__)

MAX_UNACKED: Final = 10_000
"""A partition whose acknowledged offset lags further behind is held: a restart has to read all of that again."""
STAGE: Final = "processor"


class LaneFlow(Protocol):
    """Stops and goes on fetching a partition."""

    def hold(self, topic: str, partition: int) -> None:
        """Fetch no more of it."""
        ...

    def release(self, topic: str, partition: int) -> None:
        """Fetch it again."""
        ...


class LaneRecord(Struct, kw_only=True, frozen=True):
    """A record of a lane or of the returns topic, and how to acknowledge it."""

    at: Address
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    ack: Callable[[], object]


class _Shard:
    """A scheduler and what surrounds it."""

    def __init__(self, scheduler: Scheduler, number: int) -> None:
        self.scheduler = scheduler
        self.number = number
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at_s = 0.0

    def close(self) -> None:
        """Never wake again."""
        if self.timer is not None:
            self.timer.cancel()


class Shards:
    """All shards of a model in this process.

    Args:
        policy: the model and its classes.
        process: names the process in the trace; `run` names this start of it.
        replies: partitions of the response topics; its owner keeps it up to date in place.
        outbox: where outputs go; its deliveries have to come back through `settle`.
        shipper: where trace rows go.
        flow: holds and releases partitions.
        controllers: makes the controller for a way of batching.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        process: str,
        run: str,
        replies: Mapping[str, int],
        outbox: Outbox,
        shipper: TraceShipper,
        flow: LaneFlow,
        controllers: ControllerFactory = controller_for,
    ) -> None:
        self._policy = policy
        self._process = process
        self._run = run
        self._replies = replies
        self._outbox = outbox
        self._shipper = shipper
        self._flow = flow
        self._controllers = controllers
        self._clock = BrokerClock()
        self._shards: dict[int, _Shard] = {}
        self._acks: dict[tuple[str, int], OrderedAcks] = {}
        self._held: dict[tuple[str, int], set[str]] = {}
        self._cancellations: dict[int, Cancellations] = {}
        self._control: dict[str, ControlRecord] = {}
        self._rollcall = RollCall()
        self._lives = 0
        self._is_closed = False
        self.dead_letters: Counter[str] = Counter()
        """Records that were put among the dead letters, by the code of the reason."""

    @property
    def owned(self) -> tuple[int, ...]:
        """Numbers of the shards that are owned at present."""
        return tuple(self._shards)

    @property
    def schedulers(self) -> tuple[Scheduler, ...]:
        """Those of the shards that are owned at present; to be looked at only."""
        return tuple(shard.scheduler for shard in self._shards.values())

    @property
    def now_s(self) -> float:
        """Broker time in seconds since the epoch, as far as records and heartbeats have told."""
        return self._now_s()

    def reports(self) -> list[LaneReport]:
        """How the lanes of each owned shard do, for people."""
        now_s = self._now_s()
        return [
            LaneReport(
                processor=self._process,
                model=self._policy.model,
                shard=number,
                at_ms=round(now_s * 1000),
                lanes=shard.scheduler.lane_figures(now_s=now_s),
            )
            for number, shard in self._shards.items()
        ]

    def on_assigned(self, numbers: set[int]) -> None:
        """These shards are ours now, from the committed offsets on. Each rebalance revokes all of them first."""
        for number in sorted(numbers):
            self._shard(number)
        logger.info("model %s: owns shards %s", self._policy.model, sorted(numbers) or "none")

    def on_revoked(self, numbers: set[int]) -> None:
        """These shards are not ours any more: what waits in them is read again by their next owner."""
        for number in numbers & set(self._shards):
            self._shards.pop(number).close()
        for place in [place for place in self._acks if place[1] in numbers]:
            del self._acks[place]
            self._held.pop(place, None)

    def close(self) -> None:
        """Take nothing more; what was taken is still delivered and settled."""
        self._is_closed = True
        for shard in self._shards.values():
            shard.close()

    def on_lane_record(self, record: LaneRecord, latency_class: str) -> None:
        """A record of the lane of a class."""
        shard = self._received(record)
        if shard is None:
            return
        try:
            request = decode_request(_value(record))
            arrival = Arrival(at=record.at, timestamp_ms=record.timestamp_ms, request=request, headers=record.headers)
            self._apply(shard, shard.scheduler.on_request(arrival, latency_class, now_s=self._now_s()))
        except CodecError as error:
            self._bury(record, error.code, error.message)
        except Exception as error:
            logger.exception("record %s/%s/%s could not be handled", *record.at)
            self._bury(record, PipelineError.code, repr(error))

    def on_return_record(self, record: LaneRecord) -> None:
        """A record of the returns topic."""
        shard = self._received(record)
        if shard is None:
            return
        try:
            handback = Handback(at=record.at, record=decode_return(_value(record)), headers=record.headers)
            self._apply(shard, shard.scheduler.on_return(handback, now_s=self._now_s()))
        except PipelineError as error:
            self._bury(record, error.code, error.message)
        except Exception as error:
            logger.exception("record %s/%s/%s could not be handled", *record.at)
            self._bury(record, PipelineError.code, repr(error))

    def on_heartbeat(self, heartbeat: Heartbeat, *, timestamp_ms: int) -> None:
        """A worker of the model has spoken; `timestamp_ms` is its record's."""
        if self._is_closed:
            return
        self._clock.observe(timestamp_ms, local_s=time.time())
        self._rollcall.observe(heartbeat, at_ms=timestamp_ms)
        for shard in self._shards.values():
            effects = shard.scheduler.on_heartbeat(heartbeat, at_ms=timestamp_ms, now_s=self._now_s())
            self._apply(shard, effects)

    def on_cancel(self, cancellation: Cancellation) -> None:
        """A sender wants a request to end."""
        if self._is_closed:
            return
        for shard in self._shards.values():
            self._apply(shard, shard.scheduler.on_cancel(cancellation, now_s=self._now_s()))

    def on_response_record(self, key: bytes | None, value: bytes | None) -> None:
        """A record of a response topic: answers of deterministic requests are learned from it, where there is a cache.

        Raises:
            CodecError: one that is wanted is no response.
        """
        for shard in self._shards.values():
            if value is not None and shard.scheduler.sharing.cache.wants(key):
                shard.scheduler.sharing.on_response(decode_response(value), now_s=self._now_s())

    def on_control(self, record: ControlRecord) -> None:
        """An operator or controller has decided something; remembered for shards that come later."""
        subject = names.model_of(record.deployment) if isinstance(record, DeploymentState) else record.model
        if subject != self._policy.model:
            return
        self._control[record.key] = record
        if self._is_closed:
            return
        for shard in self._shards.values():
            self._apply(shard, shard.scheduler.on_control(record, now_s=self._now_s()))

    def settle(self, at: Address) -> None:
        """What followed from an input is safe. Inputs of shards that were taken away are ignored."""
        acks = self._acks.get((at.topic, at.partition))
        if acks is None:
            return
        acks.settle(at)
        if len(acks) < MAX_UNACKED * 49 // 50:
            self._release(at.topic, at.partition, "unacked")

    def _shard(self, number: int) -> _Shard:
        """The shard of a number. Its first record may come before Faust has told that it was assigned."""
        shard = self._shards.get(number)
        if shard is None:
            shard = self._shards[number] = self._new_shard(number)
        return shard

    def _new_shard(self, number: int) -> _Shard:
        self._lives += 1
        identity = Identity(process=self._process, sender=f"{self._run}.{number}.{self._lives}", shard=number)
        keep_s = self._policy.longest_deadline_ms / 1000
        cancellations = self._cancellations.setdefault(number, Cancellations(keep_s=keep_s))
        scheduler = Scheduler(
            self._policy,
            identity,
            replies=self._replies,
            cancellations=cancellations,
            controllers=self._controllers,
        )
        for record in self._control.values():
            scheduler.on_control(record, now_s=self._now_s())
        for heartbeat, at_ms in self._rollcall.told():
            scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=self._now_s())
        return _Shard(scheduler, number)

    def _received(self, record: LaneRecord) -> _Shard | None:
        """The shard of a record, which is unacknowledged from now on; None where it is not ours to handle."""
        if self._is_closed:
            return None
        self._clock.observe(record.timestamp_ms, local_s=time.time())
        acks = self._acks.setdefault((record.at.topic, record.at.partition), OrderedAcks())
        if not acks.receive(record.at, record.ack):
            return None
        if len(acks) > MAX_UNACKED:
            self._hold(record.at.topic, record.at.partition, "unacked")
        return self._shard(record.at.partition)

    def _apply(self, shard: _Shard, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Trace():
                    self._shipper.add(effect.row)
                case Dispatch():
                    self._outbox.put(_dispatch_output(effect))
                case Answer():
                    self._answer(effect)
                case Forward():
                    self._outbox.put(_forward_output(effect))
                case PauseLane():
                    self._hold(self._lane(effect.latency_class), shard.number, "full")
                case ResumeLane():
                    self._release(self._lane(effect.latency_class), shard.number, "full")
                case _:
                    assert_never(effect)
        self._arm(shard)

    def _answer(self, answer: Answer) -> None:
        *before, last = answer.records
        for record in (*before, last):
            self._outbox.put(
                Output(
                    topic=answer.reply.topic,
                    partition=answer.reply.partition,
                    key=record.id.encode(),
                    value=encode(record),
                    headers=answer.headers,
                    settles=answer.settles if record is last else None,
                )
            )

    def _bury(self, record: LaneRecord, code: str, message: str) -> None:
        """Put a record among the dead letters, as it was; its lane goes on."""
        self.dead_letters[code] += 1
        topic, partition, offset = record.at
        headers = dead_letter(
            record.headers, topic=topic, partition=partition, offset=offset, stage=STAGE, code=code, message=message
        )
        self._outbox.put(
            Output(topic=names.DEAD_LETTERS, value=record.value, key=record.key, headers=headers, settles=record.at)
        )

    def _hold(self, topic: str, partition: int, why: str) -> None:
        reasons = self._held.setdefault((topic, partition), set())
        if not reasons:
            logger.debug("%s/%s is paused: %s", topic, partition, why)
            self._flow.hold(topic, partition)
        reasons.add(why)

    def _release(self, topic: str, partition: int, why: str) -> None:
        reasons = self._held.get((topic, partition))
        if not reasons or why not in reasons:
            return
        reasons.discard(why)
        if not reasons:
            logger.debug("%s/%s is resumed", topic, partition)
            self._flow.release(topic, partition)

    def _arm(self, shard: _Shard) -> None:
        """One timer a shard; one that rings too early asks again, so that it need not be moved at every event."""
        wake_at_s = shard.scheduler.wake_at_s
        if wake_at_s is None or self._is_closed:
            return
        if shard.timer is not None and shard.timer_at_s <= wake_at_s:
            return
        if shard.timer is not None:
            shard.timer.cancel()
        delay_s = max(0.0, wake_at_s - self._now_s())
        shard.timer_at_s = wake_at_s
        shard.timer = asyncio.get_running_loop().call_later(min(delay_s, 3600.0), self._wake, shard)

    def _wake(self, shard: _Shard) -> None:
        shard.timer = None
        if self._is_closed:
            return
        self._apply(shard, shard.scheduler.on_wake(now_s=self._now_s()))

    def _now_s(self) -> float:
        return self._clock.now_s(time.time())

    def _lane(self, latency_class: str) -> str:
        return names.Lane(self._policy.model, latency_class).topic


def _value(record: LaneRecord) -> bytes:
    if record.value is None:
        raise CodecError("the record has no value")
    return record.value


def _dispatch_output(effect: Dispatch) -> Output:
    return Output(
        topic=names.dispatch_topic(effect.record.deployment),
        partition=effect.slot,
        key=effect.record.id.encode(),
        value=encode(effect.record),
        headers=effect.headers,
        settles=effect.settles,
    )


def _forward_output(effect: Forward) -> Output:
    return Output(
        topic=names.dispatch_topic(effect.deployment),
        partition=effect.slot,
        key=effect.record.id.encode(),
        value=encode(effect.record),
    )
