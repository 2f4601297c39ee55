"""Batching for engines that batch continuously: requests are released one by one, as late as costs nothing.

What is in an engine cannot be ordered, shared out or turned away any more. So requests wait in their lanes, and each
goes out when some worker has credit for it (`processors.batching.choice`): most urgent class first, the tenant that had
the least, its earliest due time. Who cannot make it is told so, on arrival if the queue ahead shows it, and otherwise
when the time is too short even for the best worker. Work that yields fills the gaps. Until enough steps were timed,
requests are released as `processors.batching.eager` does, and nobody is turned away.
"""

from math import inf
from typing import Final, NamedTuple

from processors.admission.shares import Shares
from processors.batching.by_deployment import ByDeployment
from processors.batching.choice import Choice, Chooser
from processors.batching.class_mix import ClassMix
from processors.batching.concurrency import MIN_ANSWER_TOKENS, PromiseShare
from processors.batching.controller import Batch, Decision, Deferral, Dropped, LaneView, Part, Refused, Why
from processors.batching.deferrals import Deferrals
from processors.batching.eager import Eager
from processors.batching.early_refusal import EarlyRefusal
from processors.batching.margin import Margin
from processors.batching.outlook import LIVES_S, Outlook, OutlookCache
from processors.batching.predictions import Predictions
from processors.batching.prefix_mirror import PrefixMirrors
from processors.batching.promises import promises_of
from processors.batching.residents import Resident, Residents
from processors.batching.service_rate import ServiceRate
from processors.batching.steps import StepModel
from processors.policy import ANY_TENANT, EVERY_TENANT, Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Worker
from topics.fleet import Finished, ModelFigures

WAKE_S: Final = 0.020
"""While requests wait, they are looked at so often: what was possible may have become too late."""
_NOTHING: Final = 1e-6
"""Requests per second of workers that can serve none at all."""


class _Stuck(NamedTuple):
    """A request that found no credit. Until a worker speaks, the outlook is renewed or something more urgent comes, it
    finds none either, and what is behind it waits with it.

    `until_s` is when it could have become too late.
    """

    ticket: Ticket
    rank: int
    outlook: Outlook
    until_s: float


class Continuous:
    """`processors.batching.controller.Controller` for `mode = "continuous"`.

    Source: slack- and credit-driven dispatch after vLLM (step budget), Mooncake (early rejection), Llumnix (virtual
    usage), VTC (fairness) and Sarathi-Serve (prompt budget from the time per token).
    """

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy) -> None:
        self._queues = queues
        self._fleet = fleet
        self._eager = Eager(queues, fleet)
        names = policy.by_priority()
        self._promises = promises_of([(name, policy.classes[name]) for name in names])
        self._ranks = {name: rank for rank, name in enumerate(names)}
        self._lanes = [queues.lanes[name] for name in names]
        self._urgent_lanes = [lane for lane, each in zip(self._lanes, self._promises, strict=True) if not each.yields]
        self._mix = ClassMix(len(names))
        self._shares = [PromiseShare(promise.token_s or 0.0) for promise in self._promises]
        self._margins = [Margin() for _ in names]
        self._residents = Residents(len(names))
        self._prefixes = PrefixMirrors()
        self._rate = ServiceRate()
        self._models = ByDeployment(StepModel)
        self._outlooks = OutlookCache()
        weights = {name: tenant.weight for name, tenant in policy.tenants.items()}
        self._tenants = Shares(weights, default_weight=weights.get(ANY_TENANT, EVERY_TENANT.weight))
        self._predictions = Predictions(self._promises, mix=self._mix, prefixes=self._prefixes, hop_s=policy.hop_s)
        self._chooser = Chooser(
            self._promises,
            mix=self._mix,
            residents=self._residents,
            predictions=self._predictions,
            fleet=fleet,
        )
        self._early = EarlyRefusal(
            self._lanes,
            tenants=self._tenants,
            rate=self._rate,
            predictions=self._predictions,
            margins=self._margins,
            fleet=fleet,
        )
        self._deployment = ""
        self._now_s = 0.0
        self._hop_s = policy.hop_s
        self._deferrals = Deferrals()
        self._stuck: _Stuck | None = None

    def refuse(self, ticket: Ticket, *, now_s: float) -> Refused | None:
        """Turn a request away on arrival, if it would be too late behind what waits already."""
        self._now_s = now_s
        refused = self._refusal(ticket, now_s)
        if refused is not None:
            self._note(ticket, now_s)
        return refused

    def on_queued(self, ticket: Ticket, *, now_s: float) -> None:
        if not ticket.hop:
            self._note(ticket, now_s)

    def on_returned(self, ticket: Ticket) -> None:
        self._left(ticket.origin)

    def on_worker(self, worker: Worker, *, now_s: float) -> None:
        """Learn from the steps and the digest of a heartbeat."""
        self._now_s = now_s
        self._stuck = None
        self._prefixes.observe(worker)
        self._prefixes.retain(self._fleet.workers)
        if worker.heartbeat.samples:
            model = self._models.of(worker.heartbeat.deployment)
            for sample in worker.heartbeat.samples:
                model.learn(sample)

    def on_finished(self, finished: Finished, *, tenant: str, latency_class: str) -> None:
        """Learn how long answers are, and whether they come as fast as promised."""
        resident = self._left(finished.origin)
        rank = self._ranks.get(latency_class)
        if rank is None or finished.outcome != "completed":
            return
        if resident is not None:
            reached_us = finished.service_us if self._promises[rank].is_whole else finished.first_token_us
            reached_s = reached_us / 1e6 + 2 * self._hop_s
            self._margins[rank].observe(is_late=reached_s > resident.due_in_s)
        tokens = finished.completion_tokens
        self._mix.traffic[rank].answered(tokens)
        if self._promises[rank].token_s is not None and tokens >= MIN_ANSWER_TOKENS:
            decoding_us = finished.service_us - finished.first_token_us
            self._shares[rank].observe(decoding_us / (tokens - 1) / 1e6, now_s=self._now_s)

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        """Release what there is credit for, drop what cannot make it."""
        self._now_s = now_s
        if deployment != self._deployment:
            self._deployment = self._models.serving = deployment
            self._stuck = None
        self._rate.elapse(now_s)
        if not len(self._queues):
            self._rate.decided(released=0, is_backlogged=False)
            return Decision()
        if self._is_stuck(now_s):
            return self._decided({}, [], None, now_s)
        workers = self._fleet.eligible(deployment, now_s=now_s)
        if not workers or not self._models.of(deployment).is_known:
            return self._unlearned(deployment, now_s)
        return self._release(workers, self._outlook(deployment, now_s), now_s)

    def view(self, latency_class: str, *, now_s: float) -> LaneView:
        """Of a worker: the answers in progress that its promise allows. Saturation is load over service rate."""
        rank = self._ranks[latency_class]
        rate = self._mix.traffic[rank].per_s(now_s)
        model = self._models.of(self._deployment)
        workers = self._fleet.eligible(self._deployment, now_s=now_s)
        if not workers or not model.is_known:
            return LaneView(arrivals_per_s=rate, size_limit=0, saturation=0.0, model_error_ratio=model.error_ratio)
        outlook = self._outlook(self._deployment, now_s)
        most = max(worker.heartbeat.limits.max_sequences for worker in workers)
        load = sum(traffic.per_s(now_s) for traffic in self._mix.traffic[: rank + 1])
        return LaneView(
            arrivals_per_s=rate,
            size_limit=outlook.most_sequences(rank, most),
            saturation=load / max(_NOTHING, self._fleet.portion.ratio * outlook.requests_per_s(rank, workers)),
            model_error_ratio=model.error_ratio,
        )

    def learned(self) -> ModelFigures | None:
        """Of the steps of an engine."""
        model = self._models.known(self._deployment)
        return model.figures(self._deployment) if model is not None and model.steps else None

    def _left(self, origin: str) -> Resident | None:
        """A request is in no worker any more."""
        resident = self._residents.remove(origin)
        if resident is not None:
            self._stuck = None
            self._chooser.reopen(resident.slot)
        return resident

    def _note(self, ticket: Ticket, now_s: float) -> None:
        self._mix.traffic[self._ranks[ticket.latency_class]].arrived(ticket.demand.prompt_tokens, now_s=now_s)
        self._tenants.observe(ticket.tenant, now_s)

    def _refusal(self, ticket: Ticket, now_s: float) -> Refused | None:
        model = self._models.known(self._deployment)
        if model is None or not model.is_trusted:
            return None
        workers = self._fleet.eligible(self._deployment, now_s=now_s)
        if not workers:
            return None
        rank = self._ranks[ticket.latency_class]
        return self._early.judge(ticket, rank, workers, self._outlook(self._deployment, now_s), now_s=now_s)

    def _is_stuck(self, now_s: float) -> bool:
        """Whether the request that is next found no credit, and nothing has happened that could change that."""
        stuck = self._stuck
        if stuck is None or not stuck.outlook.at_s <= now_s < stuck.until_s:
            return False
        lanes = self._lanes
        return lanes[stuck.rank].head() is stuck.ticket and not any(len(lane) for lane in lanes[: stuck.rank])

    def _stick(self, ticket: Ticket, rank: int, outlook: Outlook, choice: Choice) -> None:
        until_s = outlook.at_s + LIVES_S
        if ticket.may_be_shed:
            in_time_s = -inf if self._promises[rank].is_whole else ticket.due_at_ms / 1000 - choice.soonest_s
            until_s = min(until_s, in_time_s)
        self._stuck = _Stuck(ticket, rank, outlook, until_s)

    def _release(self, workers: list[Worker], outlook: Outlook, now_s: float) -> Decision:
        """One request after the other, until one has no credit: what is behind it waits, or it would starve."""
        batches: dict[str, Batch] = {}
        dropped: list[Dropped] = []
        deferral: Deferral | None = None
        for rank, lane in enumerate(self._lanes):
            while (ticket := lane.head()) is not None:
                choice = self._chooser.choose(ticket, rank, workers, outlook, now_s=now_s)
                late = self._late(ticket, rank, workers[0], outlook, choice, now_s)
                if late is not None:
                    self._queues.leave(ticket, is_served=False)
                    self._margins[rank].observe(is_late=True)
                    dropped.append(late)
                elif choice.worker is None:
                    self._stick(ticket, rank, outlook, choice)
                    deferral = self._deferred(ticket, choice, workers, now_s)
                    return self._decided(batches, dropped, deferral, now_s)
                else:
                    self._send(ticket, choice, choice.worker, batches, now_s)
        return self._decided(batches, dropped, deferral, now_s)

    def _late(
        self, ticket: Ticket, rank: int, worker: Worker, outlook: Outlook, choice: Choice, now_s: float
    ) -> Dropped | None:
        """A request that could not make it even if it went out before everything else, and takes room from others.

        One that waits alone for a worker with nothing to do is served, late.
        """
        slack_s = ticket.due_at_ms / 1000 - now_s
        if not ticket.may_be_shed or (choice.soonest_s <= slack_s and not self._promises[rank].is_whole):
            return None
        if choice.worker is not None and choice.worker.is_empty and len(self._queues) == 1:
            return None
        predicted_s = self._predictions.until_target_s(
            ticket, rank, worker, outlook, first_s=choice.soonest_s, slack_s=slack_s
        )
        if predicted_s <= max(slack_s, 0.0):
            return None
        figures = {"predicted_ttft_s": round(predicted_s, 4), "slack_s": round(slack_s, 4)}
        return Dropped(ticket, Why("predicted_late", figures))

    def _send(self, ticket: Ticket, choice: Choice, worker: Worker, batches: dict[str, Batch], now_s: float) -> None:
        why = self._why(ticket, choice, worker, now_s)
        batch = batches.get(worker.name)
        if batch is None:
            limit = max(1, worker.room(choice.limit))
            batch = batches[worker.name] = Batch(worker=worker, size_limit=limit, parts=[], why=Why(why.reason))
        self._queues.leave(ticket)
        placed = self._fleet.place(worker, ticket.demand, now_s=now_s, cached_tokens=choice.cached, parks=choice.parks)
        part = Part(ticket, placed, why, choice.limit if choice.parks else 0)
        batch.parts.append(part)
        batch.size_limit = max(batch.size_limit, len(batch.parts))
        self._placed(part, worker, now_s)

    def _why(self, ticket: Ticket, choice: Choice, worker: Worker, now_s: float) -> Why:
        if ticket.demand.yields:
            reason = "fills_gap"
        elif choice.parks:
            reason = "parks_others"
        elif choice.cached:
            reason = "prefix_cached"
        else:
            reason = "soonest_first_token" if choice.contenders > 1 else "only_credit"
        figures = {
            "predicted_ttft_s": round(choice.predicted_s, 4),
            "slack_s": round(ticket.due_at_ms / 1000 - now_s, 4),
            "free_sequences": float(worker.room(choice.limit)),
            "sequence_limit": float(choice.limit),
            "queue_ahead_tokens": float(worker.backlog_tokens),
            "cached_tokens": float(choice.cached),
            "queued_requests": float(len(self._queues)),
        }
        return Why(reason, figures)

    def _deferred(self, ticket: Ticket, choice: Choice, workers: list[Worker], now_s: float) -> Deferral | None:
        """Note, now and then, what a request waits for."""
        if not self._deferrals.is_due(choice.blocked_by, now_s):
            return None
        figures = {
            "predicted_ttft_s": round(choice.soonest_s, 4),
            "slack_s": round(ticket.due_at_ms / 1000 - now_s, 4),
            "sequences": float(min(worker.sequences for worker in workers)),
            "queue_ahead_tokens": float(min(worker.backlog_tokens for worker in workers)),
        }
        return Deferral(Why(choice.blocked_by, figures), len(self._queues), has_room=choice.blocked_by != "credit")

    def _decided(
        self, batches: dict[str, Batch], dropped: list[Dropped], deferral: Deferral | None, now_s: float
    ) -> Decision:
        urgent = 0
        for batch in batches.values():
            for part in batch.parts:
                urgent += not part.ticket.demand.yields
        self._rate.decided(released=urgent, is_backlogged=any(map(len, self._urgent_lanes)))
        wake_at_s = now_s + WAKE_S if len(self._queues) else None
        return Decision(batches=list(batches.values()), dropped=dropped, deferral=deferral, wake_at_s=wake_at_s)

    def _unlearned(self, deployment: str, now_s: float) -> Decision:
        """Release as without predictions. Such time does not count for the service rate."""
        self._rate.decided(released=0, is_backlogged=False)
        decision = self._eager.decide(deployment=deployment, now_s=now_s)
        for batch in decision.batches:
            for part in batch.parts:
                self._placed(part, batch.worker, now_s)
        return decision

    def _placed(self, part: Part, worker: Worker, now_s: float) -> None:
        ticket = part.ticket
        deployment = worker.heartbeat.deployment
        rank = self._ranks[ticket.latency_class]
        due_in_s = ticket.due_at_ms / 1000 - now_s
        self._residents.add(ticket.origin, deployment=deployment, slot=part.placed.slot, rank=rank, due_in_s=due_in_s)
        if ticket.prefixes:
            self._prefixes.sent(worker, ticket.prefixes, now_s=now_s)

    def _outlook(self, deployment: str, now_s: float) -> Outlook:
        return self._outlooks.get(deployment, now_s, lambda: self._new_outlook(deployment, now_s))

    def _new_outlook(self, deployment: str, now_s: float) -> Outlook:
        prompt_tokens, answer_tokens = self._mix.means(now_s)
        return Outlook(
            self._models.of(deployment).cost,
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
            promises=self._promises,
            shares=[share.value for share in self._shares],
            at_s=now_s,
        )
