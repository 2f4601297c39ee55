"""Batches for engines that run each batch to completion: as large as the load needs and the tightest deadline allows.

A batch leaves just in time: when a worker is idle, or one hop before it is. It is filled across the classes of the
model; how long it may take is bounded by every request in it, and by how long it may block those who come next. A batch
that has room for all who wait is held back while that costs nothing. Under overload the head of a queue must not force
a batch below the size that keeps up with the load: it is dropped, if its class may be shed, because otherwise everybody
behind it would be late too.

Source: batch windows of deferred scheduling (Symphony, arXiv 2308.07470), early drop of heads (Nexus, SOSP 2019), and
earliest deadline first.
"""

from math import inf
from operator import attrgetter
from typing import Final, NamedTuple

from processors.admission.shares import Shares
from processors.batching.class_lane import ClassLane
from processors.batching.controller import Batch, Decision, Deferral, Dropped, Figures, LaneView, Part, Refused, Why
from processors.batching.deferrals import NO_WORKER, Deferrals
from processors.batching.filling import fill
from processors.batching.flights import Flights, Opening, flight_of
from processors.batching.forecast import Forecast, Forecaster
from processors.batching.knobs import knobs_of
from processors.batching.latency import LatencyModel
from processors.batching.turns import Turns
from processors.policy import ANY_TENANT, EVERY_TENANT, Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Worker
from topics.fleet import Finished, ModelFigures

_MARGIN_S: Final = 0.001
"""How long before the last moment a held batch leaves."""
_PREDICTABLE_AFTER: Final = 20
"""Batches after which predictions are good enough to turn requests away by them."""

_DRAIN_KEPT_S: Final = 0.001
_LIGHT_RATIO: Final = 0.75
"""Part of the target size that the requests of tenants must allow who ask for less than others."""
_MOST_TENANTS: Final = 1e4
"""Nobody's share is less than that of one among so many."""


class _Drain(NamedTuple):
    """How fast queues drain, as seen at `made_s`.

    `free_s` is when each worker is free, the earliest first; none where nothing can be predicted. `batches` has the
    best size for each class, and the seconds of such a batch.
    """

    made_s: float
    model: LatencyModel
    free_s: list[float]
    batches: list[tuple[int, float]]
    tokens_each: float


class RunToCompletion:
    """`processors.batching.controller.Controller` for run-to-completion engines.

    A worker has at most one batch running and one on its way. Deadlines are tested against the `safety` quantile of the
    latency model, queues are sized by its mean.
    """

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy) -> None:
        self._queues = queues
        self._fleet = fleet
        self._hop_s = policy.hop_s
        self._lanes = [
            ClassLane(index, name, knobs_of(policy.classes[name]), queues.lanes[name])
            for index, name in enumerate(policy.by_priority())
        ]
        self._by_name = {lane.name: lane for lane in self._lanes}
        self._forecaster = Forecaster(self._lanes, hop_s=policy.hop_s, fleet=fleet)
        self._flights = Flights(policy.hop_s)
        self._deployment = policy.stable or ""
        self._forecaster.serve(self._deployment)
        self._is_holding = False
        self._deferrals = Deferrals()
        self._no_room_until_s = -inf
        self._drain: _Drain | None = None
        weights = {name: tenant.weight for name, tenant in policy.tenants.items()}
        self._tenants = Shares(weights, default_weight=weights.get(ANY_TENANT, EVERY_TENANT.weight))

    def refuse(self, ticket: Ticket, *, now_s: float) -> Refused | None:
        """Turn a request away that would be late even if everybody before it went in the best possible batches.

        Behind a fair queue those are its tenant's own and whom others get served meanwhile, not all that they have.
        """
        lane = self._by_name[ticket.latency_class]
        urgent = 0
        for other in self._lanes[: lane.index]:
            urgent += len(other.queue)
        if not urgent and not len(lane.queue):
            return None
        drain = self._drain
        if drain is None or not drain.made_s <= now_s < drain.made_s + _DRAIN_KEPT_S:
            drain = self._drain = self._new_drain(now_s)
        if not drain.free_s:
            return None
        size, full_s = drain.batches[lane.index]
        ahead = urgent + self._ahead_in(lane, ticket.tenant, size * len(drain.free_s) / full_s, now_s)
        rounds, turn = divmod(ahead // size, len(drain.free_s))
        start_s = max(now_s + self._hop_s, drain.free_s[turn]) + rounds * full_s
        others = ahead % size
        service_s = drain.model.mean(others + 1, others * drain.tokens_each + ticket.demand.prompt_tokens)
        due_s = ticket.due_at_ms / 1000
        if start_s + service_s + self._hop_s <= due_s:
            return None
        self._tenants.observe(ticket.tenant, now_s)
        figures = {
            "starts_in_s": start_s - now_s,
            "service_s": service_s,
            "due_in_s": due_s - now_s,
            "queue_ahead_requests": float(ahead),
        }
        return Refused(Why("would_be_late", figures), retry_after_s=max(start_s - now_s, _MARGIN_S))

    def on_queued(self, ticket: Ticket, *, now_s: float) -> None:
        """Count the arrival; what came back from a worker is none."""
        if not ticket.hop:
            self._tenants.observe(ticket.tenant, now_s)
            self._forecaster.on_queued(ticket, self._by_name[ticket.latency_class], now_s=now_s)

    def on_returned(self, ticket: Ticket) -> None:
        """A request will not end in the batch that it was sent in."""
        self._flights.leave(ticket.origin)

    def on_worker(self, worker: Worker, *, now_s: float) -> None:
        """Learn from what the worker timed, and see what it is doing."""
        model = self._forecaster.model(worker.heartbeat.deployment)
        for timing, assumed_tokens in self._flights.follow(worker, now_s=now_s):
            if timing.id:
                model.observe(timing, assumed_tokens=assumed_tokens)
            else:
                model.warm_up(timing)
        self._flights.retain(self._fleet.workers)
        self._forecaster.renew()
        self._drain = None
        self._no_room_until_s = -inf

    def on_finished(self, finished: Finished, *, tenant: str, latency_class: str) -> None:
        """A request of a batch ended."""
        self._flights.land(finished)

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        """Send batches while workers have room and waiting longer would cost something."""
        decision = Decision(batches=[], dropped=[])
        if deployment != self._deployment:
            self._deployment, self._no_room_until_s, self._drain = deployment, -inf, None
            self._forecaster.serve(deployment)
        if not len(self._queues):
            self._is_holding = False
            return decision
        if now_s < self._no_room_until_s - 1e-9:
            self._wait_for_room(decision, self._no_room_until_s)
            return decision
        workers = self._eligible(now_s)
        while len(self._queues) and self._release(decision, workers, now_s):
            pass
        return decision

    def view(self, latency_class: str, *, now_s: float) -> LaneView:
        """Figures of a lane; those that need a worker are 0 without one."""
        lane = self._by_name[latency_class]
        arrivals_per_s = lane.rate.per_s(now_s)
        error_ratio = self._forecaster.model(self._deployment).error_ratio
        workers = self._fleet.eligible(self._deployment, now_s=now_s)
        size_limit, saturation = 0, 0.0
        if workers:
            forecast = self._forecaster.of(workers, self._deployment, now_s=now_s)
            load_per_s, knobs = forecast.loads_per_s[lane.index], lane.knobs
            size_limit = forecast.sizes.limit(load_per_s, knobs.slo_s)
            saturation = forecast.sizes.saturation(load_per_s, knobs.slo_s, knobs.utilisation)
        return LaneView(
            arrivals_per_s=arrivals_per_s,
            size_limit=size_limit,
            saturation=saturation,
            model_error_ratio=error_ratio,
        )

    def learned(self) -> ModelFigures | None:
        """Of the batches of an engine, warm-ups included."""
        model = self._forecaster.known(self._deployment)
        return model.figures(self._deployment) if model is not None else None

    def _ahead_in(self, lane: ClassLane, tenant: str, rate_per_s: float, now_s: float) -> int:
        """How many requests of a lane go before a new one of this tenant, if so many are served per second."""
        queued, own = len(lane.queue), lane.queue.backlog(tenant)
        if own == queued:
            return queued
        share_per_s = max(self._tenants.of(tenant, rate_per_s, now_s), rate_per_s / _MOST_TENANTS)
        return min(queued, int(own * rate_per_s / share_per_s))

    def _eligible(self, now_s: float) -> list[Worker]:
        workers = self._fleet.eligible(self._deployment, now_s=now_s)
        return workers if self._fleet.shards == 1 else sorted(workers, key=attrgetter("name"))

    def _turns(self, workers: list[Worker]) -> Turns | None:
        """Whose turn it is, where several shards share these workers."""
        fleet = self._fleet
        if fleet.shards == 1:
            return None
        return Turns(fleet.ratios, fleet.shard, fleet.shards, len(workers), self._lanes[0].knobs.hold_s, self._hop_s)

    def _new_drain(self, now_s: float) -> _Drain:
        model = self._forecaster.model(self._deployment)
        workers = self._eligible(now_s)
        if not workers or model.observed < _PREDICTABLE_AFTER:
            return _Drain(now_s, model, [], [], 0.0)
        forecast = self._forecaster.of(workers, self._deployment, now_s=now_s)
        sizes = [
            forecast.sizes.limit(load_per_s, lane.knobs.slo_s)
            for lane, load_per_s in zip(self._lanes, forecast.loads_per_s, strict=True)
        ]
        batches = [(size, model.mean(size, size * forecast.tokens_each)) for size in sizes]
        return _Drain(
            now_s, model, self._flights.free_s(workers, turns=self._turns(workers)), batches, forecast.tokens_each
        )

    def _release(self, decision: Decision, workers: list[Worker], now_s: float) -> bool:
        """Send one batch; False where nothing more can be sent now, with the time to ask again in the decision."""
        opening = self._flights.opening(workers, now_s=now_s, turns=self._turns(workers))
        send_s = opening.send_s if opening else inf
        if opening is None or now_s < send_s - 1e-9:
            self._wait_for_room(decision, send_s)
            decision.deferral = self._deferred(len(workers), send_s, now_s)
            return False
        forecast = self._forecaster.of(workers, self._deployment, now_s=now_s)
        self._purge(decision, forecast, opening, now_s)
        if not len(self._queues):
            return False
        size_limit = forecast.size_limit(self._lanes)
        hold_until_s = self._hold_until_s(forecast, opening, size_limit)
        if now_s < hold_until_s - 1e-6:
            self._hold(decision, forecast, hold_until_s, now_s)
            return False
        self._is_holding = False
        self._send(decision, forecast, opening, size_limit, now_s)
        return True

    def _wait_for_room(self, decision: Decision, until_s: float) -> None:
        """No worker has room before this time, or before one of them tells that it has."""
        self._no_room_until_s = until_s
        decision.wake_at_s = until_s if until_s < inf else None

    def _deferred(self, workers: int, until_s: float, now_s: float) -> Deferral | None:
        """Note, now and then, that every worker has as much as it should."""
        figures = {"workers": float(workers)}
        if until_s < inf:
            figures["until_in_s"] = round(until_s - now_s, 6)
        reason = "workers_busy" if workers else NO_WORKER
        return self._deferrals.blocked(reason, figures=figures, queued=len(self._queues), now_s=now_s)

    def _purge(self, decision: Decision, forecast: Forecast, opening: Opening, now_s: float) -> None:
        """Drop heads that cannot make it, and under overload those that would force a batch below its target.

        The target of a class follows from the load of its own class and of more urgent ones only. A tenant that waits
        with fewer requests than most is not what the overload comes from: the target for its requests is lower. One
        that waits alone for a worker with nothing to do is served, late.
        """
        if opening.is_idle and len(self._queues) == 1:
            return
        model, before = forecast.model, 0
        for lane, load_per_s in zip(self._lanes, forecast.loads_per_s, strict=True):
            queue = lane.queue
            target = forecast.sizes.target(load_per_s, lane.knobs.slo_s)
            while (head := queue.head()) is not None and head.may_be_shed:
                slack_s = head.due_at_ms / 1000 - self._hop_s - opening.start_s
                needed = min(target, before + len(queue))
                if queue.tenants > 1 and queue.backlog(head.tenant) * queue.tenants <= len(queue):
                    needed = max(1, int(_LIGHT_RATIO * needed))
                each = min(forecast.tokens_each, queue.prompt_tokens / len(queue))
                needed_s = max(model.high(1, head.demand.prompt_tokens), model.high(needed, needed * each))
                if slack_s >= needed_s - 1e-9:
                    break
                figures = {
                    "slack_s": slack_s,
                    "service_s": needed_s,
                    "size_target": float(needed),
                    "queued_requests": float(len(queue)),
                    "waited_s": now_s - head.produced_ms / 1000,
                }
                self._queues.leave(head, is_served=False)
                decision.dropped.append(Dropped(head, Why("predicted_late", figures)))
            before += len(queue)

    def _hold_until_s(self, forecast: Forecast, opening: Opening, size_limit: int) -> float:
        """Until when it costs nothing to wait for a larger batch; 0 where there is nothing to wait for."""
        queued = len(self._queues)
        if queued > size_limit or queued >= forecast.hold_size:
            return 0.0
        patience_s = due_s = inf
        for lane in self._lanes:
            earliest_ms = lane.queue.earliest_due_ms()
            if earliest_ms is not None:
                due_s = min(due_s, earliest_ms / 1000)
                patience_s = min(patience_s, earliest_ms / 1000 - lane.knobs.slo_s + lane.knobs.hold_s)
        if due_s - self._hop_s - opening.start_s < forecast.high(queued):
            return 0.0
        return min(patience_s, due_s - 2 * self._hop_s - forecast.high(queued + 1) - _MARGIN_S)

    def _hold(self, decision: Decision, forecast: Forecast, until_s: float, now_s: float) -> None:
        """Wait, and say so once."""
        decision.wake_at_s = until_s
        if self._is_holding:
            return
        self._is_holding = True
        figures = {
            "until_in_s": until_s - now_s,
            "size_held_for": float(forecast.hold_size),
            "arrivals_per_s": forecast.arrivals_per_s,
        }
        decision.deferral = Deferral(Why("larger_batch", figures), len(self._queues))

    def _send(self, decision: Decision, forecast: Forecast, opening: Opening, size_limit: int, now_s: float) -> None:
        """Fill a batch and give it to the worker."""
        queued, worker = len(self._queues), opening.worker
        tickets, slack_s = fill(
            self._queues, self._lanes, forecast, size_limit=size_limit, start_s=opening.start_s, hop_s=self._hop_s
        )
        flight = flight_of(worker, tickets, forecast.model)
        figures: Figures = {
            "service_s": round(flight.mean_s, 6),
            "starts_in_s": round(opening.start_s - now_s, 6),
            "queued_requests": float(queued),
            "size_limit": float(size_limit),
            "arrivals_per_s": round(forecast.arrivals_per_s, 1),
        }
        if slack_s < inf:
            figures["slack_s"] = round(slack_s, 6)
        why = Why("worker_idle" if opening.is_idle else "worker_frees_soon", figures)
        self._flights.launch(opening, tickets, flight)
        self._drain = None
        placed = self._fleet.place_together(worker, [ticket.demand for ticket in tickets], now_s=now_s)
        parts = [Part(ticket, place, why) for ticket, place in zip(tickets, placed, strict=True)]
        decision.batches.append(Batch(worker=worker, size_limit=size_limit, parts=parts, why=why))
