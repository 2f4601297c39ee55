"""Plays with a scheduler: records in, effects out, heartbeats back, as on a broker."""

from collections.abc import Mapping
from typing import Final

from pipeline.simulation.llm.traffic import CLASSES, SimRequest
from pipeline.simulation.llm.world import DEPLOYMENT, MODEL, SENDER, START_S, Move, Sent, Turned
from processors.batching.modes import ControllerFactory, controller_for
from processors.effects import Answer, Dispatch, Effect
from processors.events import Address, Arrival
from processors.policy import ClassPolicy, Identity, Policy, TenantPolicy
from processors.scheduler import Scheduler
from topics import names
from topics.bodies import COMPLETIONS
from topics.errors import RateLimited
from topics.fleet import Heartbeat
from topics.requests import Request
from topics.responses import Rejected

_LONGEST_MS: Final = 24 * 3600 * 1000


class SchedulerPlayer:
    """`pipeline.simulation.llm.world.Player` of a `processors.scheduler.Scheduler`.

    Args:
        hop_s: one way through the broker.
        controllers: other ways of batching than the product's.
        classes: other classes than those of the traffic.
        tenants: those that are configured.

    Attributes:
        retries: how many of those that were refused were told when to try again.
        over_limit: how many of them were over a limit of their tenant.
        workers: where each request went, by index.
    """

    def __init__(
        self,
        *,
        hop_s: float,
        controllers: ControllerFactory = controller_for,
        classes: Mapping[str, ClassPolicy] = CLASSES,
        tenants: Mapping[str, TenantPolicy] | None = None,
    ) -> None:
        policy = Policy(
            model=MODEL,
            classes=classes,
            stable=DEPLOYMENT,
            longest_deadline_ms=_LONGEST_MS,
            tenants=tenants or {},
            hop_s=hop_s,
        )
        identity = Identity(process="simulation", sender=SENDER)
        replies = {names.RESPONSES: 1}
        self.scheduler = Scheduler(policy, identity, replies=replies, controllers=controllers)
        self._topics = {name: names.Lane(MODEL, name).topic for name in classes}
        self.retries = 0
        self.over_limit = 0
        self.workers: dict[int, int] = {}

    def arrive(self, request: SimRequest, *, now_s: float) -> Move:
        arrival = Arrival(
            at=Address(self._topics[request.latency_class], 0, request.index),
            timestamp_ms=int(1000 * (START_S + now_s)),
            request=Request(body=request.body(), endpoint=COMPLETIONS, tenant=request.tenant),
        )
        return self._move(self.scheduler.on_request(arrival, request.latency_class, now_s=START_S + now_s))

    def hear(self, heartbeat: Heartbeat, *, at_s: float, now_s: float) -> Move:
        at_ms = int(1000 * (START_S + at_s))
        return self._move(self.scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=START_S + now_s))

    def wake(self, *, now_s: float) -> Move:
        return self._move(self.scheduler.on_wake(now_s=START_S + now_s))

    def _move(self, effects: list[Effect]) -> Move:
        sent: list[Sent] = []
        turned_away: list[Turned] = []
        for effect in effects:
            if isinstance(effect, Dispatch):
                sent.append(Sent(effect.slot, effect.settles.offset, effect.record.seq))
                self.workers[effect.settles.offset] = effect.slot
            elif isinstance(effect, Answer):
                record = effect.records[-1]
                turned_away.append(Turned(effect.settles.offset, isinstance(record, Rejected)))
                if isinstance(record, Rejected) and record.error is not None:
                    self.retries += record.error.retry_after_s is not None
                    self.over_limit += record.error.code == RateLimited.code
        wake_at_s = self.scheduler.wake_at_s
        return Move(sent, turned_away, None if wake_at_s is None else wake_at_s - START_S)
