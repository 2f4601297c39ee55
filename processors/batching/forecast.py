"""What is to be expected: the load of every class, how long batches take, and therefore how large they should be.

Forecasts are kept for a millisecond: nothing in them moves faster, and a burst asks for many.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from processors.batching.by_deployment import ByDeployment
from processors.batching.class_lane import ClassLane
from processors.batching.knobs import QUANTILE
from processors.batching.latency import LatencyModel
from processors.batching.sizes import Sizes
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Worker

_ACTIVE_S: Final = 1.0
"""A class without arrivals for so long is not expected: batches need not be kept short for it."""
_BURST: Final = 2
"""A backlog of so many full batches is a burst: batches are then as large as deadlines allow."""
_KEPT_S: Final = 0.001
_TOKENS_GAIN: Final = 0.01


class Forecast(NamedTuple):
    """Load up to and with each class in order, and what follows from it.

    Attributes:
        arrivals_per_s: of all classes.
        loads_per_s: what has to be served of a class and all more urgent ones: what arrives, or, where that is more,
            what waits beyond a round of the largest batches, until the last of it is due. When a burst is over nothing
            arrives, and batches must not be small.
        tightest: the most urgent class that is expected.
        max_tokens: of one batch.
        tokens_each: of an average request of late, as estimated.
    """

    model: LatencyModel
    sizes: Sizes
    arrivals_per_s: float
    loads_per_s: list[float]
    tightest: ClassLane
    max_tokens: int
    tokens_each: float

    @property
    def load_per_s(self) -> float:
        """That of all classes."""
        return self.loads_per_s[-1]

    @property
    def hold_size(self) -> int:
        """Smaller batches than this are worth waiting with."""
        knobs = self.tightest.knobs
        return self.sizes.hold(self.load_per_s, knobs.slo_s, knobs.utilisation)

    def high(self, size: int) -> float:
        """Seconds that a batch of average requests exceeds only rarely."""
        return self.model.high(size, size * self.tokens_each)

    def size_limit(self, lanes: Sequence[ClassLane]) -> int:
        """Requests that a batch may have: enough for the load, and no more than blocks the tightest class too long."""
        sizes, tightest = self.sizes, self.tightest
        slo_s = tightest.knobs.slo_s
        limit = sizes.take(self.load_per_s, slo_s)
        urgent = sum(len(lane.queue) for lane in lanes[: tightest.index + 1])
        if urgent >= _BURST * limit:
            return sizes.max_size
        if tightest is lanes[-1] or self.load_per_s <= self.loads_per_s[tightest.index]:
            return limit
        return max(sizes.half(slo_s), min(limit, sizes.limit(self.load_per_s, slo_s)))


class Forecaster:
    """Learns from arrivals and from timed batches, one latency model for each deployment.

    Args:
        lanes: the classes, the most urgent first.
        hop_s: one way through the broker, in seconds.
        fleet: says which portion of the workers is there for these lanes.
    """

    def __init__(self, lanes: Sequence[ClassLane], *, hop_s: float, fleet: Fleet) -> None:
        self._lanes = lanes
        self._hop_s = hop_s
        self._fleet = fleet
        self._models = ByDeployment(lambda: LatencyModel(quantile=QUANTILE))
        self._tokens_each = 0.0
        self._kept: Forecast | None = None
        self._kept_for: tuple[LatencyModel, int] | None = None
        self._made_s = 0.0

    def model(self, deployment: str) -> LatencyModel:
        """How long batches of a deployment take."""
        return self._models.of(deployment)

    def known(self, deployment: str) -> LatencyModel | None:
        """How long batches of a deployment take, if any was timed."""
        model = self._models.known(deployment)
        return model if model is not None and model.is_known else None

    def serve(self, deployment: str) -> None:
        """This deployment gets work from now on: what is known of it is not forgotten."""
        self._models.serving = deployment

    def on_queued(self, ticket: Ticket, lane: ClassLane, *, now_s: float) -> None:
        """Count an arrival."""
        lane.rate.add(now_s)
        tokens = ticket.demand.prompt_tokens
        self._tokens_each += _TOKENS_GAIN * (tokens - self._tokens_each) if self._tokens_each else tokens

    def renew(self) -> None:
        """Workers, or what is known of them, have changed: the next forecast is made anew."""
        self._kept = None

    def of(self, workers: Sequence[Worker], deployment: str, *, now_s: float) -> Forecast:
        """The forecast for these workers, at least one, of a deployment."""
        model, kept = self.model(deployment), self._kept
        key = (model, len(workers))
        if kept is None or self._kept_for != key or not self._made_s <= now_s < self._made_s + _KEPT_S:
            kept = self._kept = self._make(workers, model, now_s)
            self._kept_for, self._made_s = key, now_s
        tightest = self._tightest(now_s)
        return kept if kept.tightest is tightest else kept._replace(tightest=tightest)

    def _make(self, workers: Sequence[Worker], model: LatencyModel, now_s: float) -> Forecast:
        limits = [worker.heartbeat.limits for worker in workers]
        sizes = Sizes.of(
            model,
            tokens_each=self._tokens_each,
            hop_s=self._hop_s,
            workers=len(workers) * self._fleet.portion.ratio,
            max_size=max(1, min(limit.max_sequences for limit in limits)),
        )
        loads, load, arrivals, round_size = list[float](), 0.0, 0.0, len(workers) * sizes.max_size
        for lane in self._lanes:
            per_s = lane.rate.per_s(now_s)
            arrivals += per_s
            load += max(per_s, _backlog_per_s(lane, round_size, now_s))
            loads.append(load)
        max_tokens = min(limit.max_batch_tokens for limit in limits)
        return Forecast(model, sizes, arrivals, loads, self._tightest(now_s), max_tokens, self._tokens_each)

    def _tightest(self, now_s: float) -> ClassLane:
        for lane in self._lanes:
            if now_s - lane.rate.last_s < _ACTIVE_S or len(lane.queue):
                return lane
        return self._lanes[-1]


def _backlog_per_s(lane: ClassLane, round_size: int, now_s: float) -> float:
    """How much of a lane has to be served per second, so that all of it is before the last of it is due.

    Senders may allow some requests more time than the SLO does: those do not stretch it.
    """
    beyond = len(lane.queue) - round_size
    if beyond <= 0:
        return 0.0
    return beyond / max(min(lane.queue.latest_due_ms / 1000 - now_s, lane.knobs.slo_s), _KEPT_S)
