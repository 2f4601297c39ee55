"""Who is turned away on arrival, and can go elsewhere at once: those whom the queue ahead would make too late.

Behind a fair queue a tenant waits for its own requests and for those of more urgent classes, not for other tenants':
one that asks for more than its share is turned away, the others are not.
"""

from typing import Final

from processors.admission.shares import Shares
from processors.batching.controller import Refused, Why
from processors.batching.margin import Margin
from processors.batching.outlook import Outlook
from processors.batching.predictions import Predictions
from processors.batching.service_rate import ServiceRate
from processors.queueing.lane import LaneQueue
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Worker

WAIT_MARGIN: Final = 0.97
"""Part of the predicted wait that counts: who is let in by mistake can still be dropped, not the other way round."""
MIN_RETRY_S: Final = 0.1
_NOTHING: Final = 1e-6


class EarlyRefusal:
    """For one controller, whose state it reads.

    Args:
        lanes: by rank of their classes.
        tenants: what each tenant can count on.
        rate: of releases, as measured.
        predictions: when a first token would come.
        margins: of the classes by rank.
        fleet: says which portion of the workers is there for these lanes.
    """

    def __init__(
        self,
        lanes: list[LaneQueue],
        *,
        tenants: Shares,
        rate: ServiceRate,
        predictions: Predictions,
        margins: list[Margin],
        fleet: Fleet,
    ) -> None:
        self._lanes = lanes
        self._tenants = tenants
        self._rate = rate
        self._predictions = predictions
        self._margins = margins
        self._fleet = fleet

    def judge(
        self, ticket: Ticket, rank: int, workers: list[Worker], outlook: Outlook, *, now_s: float
    ) -> Refused | None:
        """Whether a request would be too late behind what waits. There must be a worker.

        One that finds nothing waiting and a worker with nothing to do is taken whatever is predicted.
        """
        urgent = sum(len(lane) for lane in self._lanes[:rank])
        own = self._lanes[rank].backlog(ticket.tenant)
        rate = self._per_s(rank, workers, outlook)
        wait_s = urgent / rate
        if own:
            wait_s += own / max(_NOTHING, self._tenants.of(ticket.tenant, rate, now_s))
        worker = min(workers, key=_backlog)
        slack_s = ticket.due_at_ms / 1000 - now_s
        margin_s = self._margin_s(ticket, rank) if wait_s else 0.0
        left_s = slack_s - WAIT_MARGIN * wait_s - margin_s
        predicted_s = self._predictions.next_s(ticket, rank, worker, outlook, slack_s=left_s)
        if predicted_s <= left_s or (not wait_s and any(w.is_empty for w in workers)):
            return None
        figures = {
            "predicted_wait_s": round(wait_s, 4),
            "predicted_ttft_s": round(predicted_s, 4),
            "slack_s": round(slack_s, 4),
            "queue_ahead_requests": float(urgent + own),
            "service_rate_per_s": round(rate, 3),
        }
        if margin_s:
            figures["margin_s"] = round(margin_s, 4)
        return Refused(Why("predicted_late", figures), max(MIN_RETRY_S, wait_s))

    def _margin_s(self, ticket: Ticket, rank: int) -> float:
        """Part of the target that nobody who waits may be expected to need."""
        return self._margins[rank].ratio * (ticket.due_at_ms - ticket.produced_ms) / 1000

    def _per_s(self, rank: int, workers: list[Worker], outlook: Outlook) -> float:
        """Requests per second that this scheduler can count on: as modelled, or as measured if that is less."""
        modelled = outlook.requests_per_s(rank, workers) * self._fleet.portion.ratio
        measured = self._rate.per_s
        return max(_NOTHING, modelled if measured is None else min(modelled, measured))


def _backlog(worker: Worker) -> int:
    return worker.heartbeat.credits.prefill_backlog_tokens
