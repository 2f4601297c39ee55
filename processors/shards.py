"""The shards of one model that this process owns: records in, scheduler, effects out.

Everything here runs on one event loop and none of it waits: outputs go to the outbox, rows to the trace, and an input
is acknowledged, in order, when both are safe. A shard lives from the assignment of its partitions to their revocation.
It begins when it knows what its former owner has left (`rebuilding`); its next owner reads again what was not
acknowledged, and learns from the logs what was done about it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from processors.acks import OrderedAcks
from processors.batching.modes import ControllerFactory, controller_for
from processors.clock import BrokerClock
from processors.delivery import TraceShipper
from processors.events import Address
from processors.execution import Executor
from processors.holds import REBUILDING, UNACKED, Holds, LaneFlow
from processors.outbox import Outbox
from processors.policy import Identity, Policy
from processors.queueing.cancellations import Cancellations
from processors.rebuilding import Histories, NoHistories, Rebuilding
from processors.rollcall import RollCall
from processors.scheduler import Scheduler
from processors.shard import LaneRecord, Shard
from topics import names
from topics.codec import decode_response
from topics.control import ControlRecord, DeploymentState, Drain
from topics.fleet import Heartbeat, LaneReport
from topics.requests import Cancellation

logger = logging.getLogger(__name__)

MAX_UNACKED: Final = 10_000
"""A partition whose acknowledged offset lags further behind is held: a restart has to read all of that again."""


class Shards:
    """All shards of a model in this process.

    Args:
        policy: the model and its classes.
        process: names the process in the trace; `run` names this start of it.
        replies: partitions of the response topics; its owner keeps it up to date in place.
        outbox: where outputs go; its deliveries have to come back through `settle`.
        shipper: where trace rows go.
        flow: holds and releases partitions.
        delivered: settles an input, by and by, that has no outputs any more.
        histories: what former owners have left; without them a shard begins at once, and does again what they did.
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
        delivered: Callable[[Address], None],
        histories: Histories | None = None,
        controllers: ControllerFactory = controller_for,
    ) -> None:
        self._policy = policy
        self._process = process
        self._run = run
        self._replies = replies
        self._outbox = outbox
        self._shipper = shipper
        self._holds = Holds(flow)
        self._delivered = delivered
        self._controllers = controllers
        self._clock = BrokerClock()
        self._executor = Executor(policy.model, outbox=outbox, shipper=shipper, holds=self._holds)
        self._rebuilding = Rebuilding(
            histories or NoHistories(), policy, replies, flush=outbox.flush, begun=self._begun
        )
        self._shards: dict[int, Shard] = {}
        self._acks: dict[tuple[str, int], OrderedAcks] = {}
        self._cancellations: dict[int, Cancellations] = {}
        self._control: dict[str, ControlRecord] = {}
        self._rollcall = RollCall()
        self._lives = 0
        self._is_closed = False

    @property
    def dead_letters(self) -> Counter[str]:
        """Records that were put among the dead letters, by the code of the reason."""
        return self._executor.dead_letters

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
        """How the lanes of each owned shard do, for people and for the other shards."""
        now_s = self._now_s()
        return [
            LaneReport(
                processor=self._process,
                model=self._policy.model,
                shard=number,
                at_ms=round(now_s * 1000),
                lanes=shard.scheduler.lane_figures(now_s=now_s),
                latency_model=shard.scheduler.learned(),
            )
            for number, shard in self._shards.items()
        ]

    def on_assigned(self, numbers: set[int]) -> None:
        """These shards are ours now, from the committed offsets on. Each rebalance revokes all of them first."""
        for number in sorted(numbers):
            self._shard(number)
            for topic in self._lanes():
                self._holds.renew(topic, number)
        logger.info("model %s: owns shards %s", self._policy.model, sorted(numbers) or "none")

    def on_revoked(self, numbers: set[int]) -> None:
        """These shards are not ours any more: what waits in them is read again by their next owner."""
        for number in numbers & set(self._shards):
            self._shards.pop(number).close()
        for place in [place for place in self._acks if place[1] in numbers]:
            del self._acks[place]
        for number in numbers:
            for topic in (*self._lanes(), names.returns_topic(self._policy.model)):
                self._holds.forget(topic, number)
        self._rebuilding.prune()

    async def flush(self) -> None:
        """Return when all that was decided is in the log, where the next owner of a shard looks for it."""
        await self._outbox.flush()

    def close(self) -> None:
        """Take nothing more; what was taken is still delivered and settled."""
        self._is_closed = True
        for shard in self._shards.values():
            shard.close()
        self._rebuilding.prune()

    def on_lane_record(self, record: LaneRecord, latency_class: str) -> None:
        """A record of the lane of a class."""
        shard = self._received(record)
        if shard is not None:
            shard.on_lane_record(record, latency_class)

    def on_return_record(self, record: LaneRecord) -> None:
        """A record of the returns topic."""
        shard = self._received(record)
        if shard is not None:
            shard.on_return_record(record)

    def on_heartbeat(self, heartbeat: Heartbeat, *, timestamp_ms: int) -> None:
        """A worker of the model has spoken; `timestamp_ms` is its record's."""
        if self._is_closed:
            return
        self._clock.observe(timestamp_ms, local_s=time.time())
        self._rollcall.observe(heartbeat, at_ms=timestamp_ms)
        for shard in self._shards.values():
            shard.on_heartbeat(heartbeat, timestamp_ms)

    def on_lanes(self, report: LaneReport) -> None:
        """A shard of the model, here or elsewhere, has told what waits there."""
        for shard in self._shards.values():
            shard.on_lanes(report)

    def on_cancel(self, cancellation: Cancellation) -> None:
        """A sender wants a request to end."""
        if self._is_closed:
            return
        key = (cancellation.tenant, cancellation.id)
        shards = list(self._shards.values())
        # Where one of them knows the request, the others need not wait for it: one sent again would be hit.
        knowing = [shard for shard in shards if shard.waiting is not None or shard.scheduler.knows(key)]
        for shard in knowing or shards:
            shard.on_cancel(cancellation)

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
        if isinstance(record, Drain):  # the worker obeys, and its heartbeats tell
            return
        subject = names.model_of(record.deployment) if isinstance(record, DeploymentState) else record.model
        if subject != self._policy.model:
            return
        self._control[record.key] = record
        if self._is_closed:
            return
        for shard in self._shards.values():
            shard.on_control(record)

    def settle(self, at: Address) -> None:
        """What followed from an input is safe. Inputs of shards that were taken away are ignored."""
        acks = self._acks.get((at.topic, at.partition))
        if acks is None:
            return
        acks.settle(at)
        if len(acks) < MAX_UNACKED * 49 // 50:
            self._holds.release(at.topic, at.partition, UNACKED)

    def _shard(self, number: int) -> Shard:
        """The shard of a number. Its first record may come before Faust has told that it was assigned."""
        shard = self._shards.get(number)
        if shard is None:
            shard = self._shards[number] = self._new_shard(number)
            for topic in self._lanes():
                self._holds.hold(topic, number, REBUILDING)
            self._rebuilding.add(shard)
        return shard

    def _new_shard(self, number: int) -> Shard:
        self._lives += 1
        identity = Identity.of(self._process, run=self._run, shard=number, life=self._lives)
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
        return Shard(scheduler, number, executor=self._executor, delivered=self._delivered, now_s=self._now_s)

    def _begun(self, shard: Shard) -> None:
        for topic in self._lanes():
            self._holds.release(topic, shard.number, REBUILDING)

    def _received(self, record: LaneRecord) -> Shard | None:
        """The shard of a record, which is unacknowledged from now on; None where it is not ours to handle."""
        if self._is_closed:
            return None
        self._clock.observe(record.timestamp_ms, local_s=time.time())
        acks = self._acks.setdefault((record.at.topic, record.at.partition), OrderedAcks())
        missing = acks.missing_before(record.at)
        if missing:
            logger.error(
                "%s/%s: offsets %s to %s were removed before they were handled",
                record.at.topic,
                record.at.partition,
                record.at.offset - missing,
                record.at.offset - 1,
            )
        if not acks.receive(record.at, record.ack):
            return None
        if len(acks) > MAX_UNACKED:
            self._holds.hold(record.at.topic, record.at.partition, UNACKED)
        return self._shard(record.at.partition)

    def _now_s(self) -> float:
        return self._clock.now_s(time.time())

    def _lanes(self) -> list[str]:
        return [names.Lane(self._policy.model, latency_class).topic for latency_class in self._policy.classes]
