"""How long a batch will take on an engine that runs each batch to completion: learned from batches that were timed.

Three things at three speeds: the shape of the law from all kinds of batches ever seen, a scale that follows throttling
and noisy neighbours within about ten batches, and a safety factor that follows the tail. Does not know who asks.
"""

from typing import Final

from processors.batching.regression import BucketedFit, half_octave, short
from topics.fleet import BatchTiming, ModelFigures

PRIOR: Final = (0.010, 0.0012, 0.0)
"""Seconds of a batch, of each request and of each token, until something was timed."""

_FLOORS: Final = (1e-5, 1e-7, 0.0)
_FIRST_SAFETY: Final = 1.10
_SAFETY_RANGE: Final = (1.02, 1.5)
_CLIP: Final = (0.5, 1.5)
"""Ratios of actual to predicted beyond this are stragglers or hiccups: they teach no more than this."""
_SCALE_GAIN: Final = 0.1
_SCALE_AFTER: Final = 8
"""Batches after which the scale moves and outliers are clipped: before, the prediction is not worth trusting."""
_REFIT_ALWAYS_UNTIL: Final = 32
_REFIT_EVERY: Final = 8
_FAST_STEP_UNTIL: Final = 50
_ERROR_MEMORY: Final = 100
_COUNTED_GAIN: Final = 0.02


class LatencyModel:
    """Service time of a batch: `mean = scale * (base + each * size + token * tokens)`, rarely above `safety * mean`.

    Tokens are those that the caller assumes; how many the worker really counts for each of them is learned too.

    Attributes:
        base_s, each_s, token_s: the coefficients with the scale in them, in seconds.
        safety: online `quantile` of actual / predicted, in [1.02, 1.5].
        scale: how much slower the engine is of late than its shape says.
        counted: tokens that workers count for each that was assumed.
        observed: batches learned from, without those of warm-ups.
        error_ratio: mean of |actual - predicted| / predicted over about the last 100 batches.

    Args:
        quantile: share of batches that should take no longer than `high`.
    """

    def __init__(self, *, quantile: float = 0.99) -> None:
        self._quantile = quantile
        self._fit = BucketedFit(PRIOR, floors=_FLOORS)
        self._shape: tuple[float, ...] = PRIOR
        self.base_s, self.each_s, self.token_s = PRIOR
        self.scale = 1.0
        self.counted = 1.0
        self.safety = _FIRST_SAFETY
        self.observed = 0
        self.error_ratio = 0.0

    @property
    def is_known(self) -> bool:
        """Whether any batch was timed, be it while an engine warmed up."""
        return len(self._fit) > 0

    def figures(self, deployment: str) -> ModelFigures:
        """Its state, for people."""
        base, each, token = self._shape
        shape = {"batch": base, "request": each, "token": token * self.counted}
        return ModelFigures(
            deployment=deployment,
            shape_us={name: short(1e6 * seconds) for name, seconds in shape.items()},
            scale=short(self.scale),
            safety=short(self.safety),
            samples=self.observed,
            error_ratio=short(self.error_ratio),
        )

    def mean(self, size: float, tokens: float) -> float:
        """Expected seconds of a batch of `size` requests with `tokens` prompt tokens together."""
        return self.base_s + self.each_s * size + self.token_s * tokens

    def high(self, size: float, tokens: float) -> float:
        """Seconds that such a batch exceeds only rarely: what deadlines are tested with."""
        return self.safety * (self.base_s + self.each_s * size + self.token_s * tokens)

    def warm_up(self, timing: BatchTiming) -> None:
        """Learn the shape from a batch that the worker ran while its engine started."""
        self._learn(timing, _seconds(timing))
        self._refit()

    def observe(self, timing: BatchTiming, *, assumed_tokens: int | None = None) -> None:
        """Learn from a batch; `assumed_tokens` is what was assumed of it, None where others sent it."""
        actual_s = _seconds(timing)
        self.observed += 1
        if assumed_tokens is not None:
            self._measure(actual_s / self.mean(timing.size, assumed_tokens))
            if assumed_tokens:
                share = max(_COUNTED_GAIN, 1.0 / self.observed)
                self.counted += share * (timing.tokens / assumed_tokens - self.counted)
        if self.observed > _SCALE_AFTER:
            base, each, token = self._shape
            predicted_s = self.scale * (base + each * timing.size + token * timing.tokens)
            clipped = min(max(actual_s / predicted_s, _CLIP[0]), _CLIP[1])
            self.scale *= 1.0 + _SCALE_GAIN * (clipped - 1.0)
            actual_s = clipped * predicted_s
        self._learn(timing, actual_s / self.scale)
        if self.observed < _REFIT_ALWAYS_UNTIL or self.observed % _REFIT_EVERY == 0:
            self._refit()
        else:
            self._apply()

    def _measure(self, ratio: float) -> None:
        """Move the safety factor and the error towards what this batch says.

        Source: stochastic approximation of a quantile, Robbins and Monro 1951.
        """
        step = 0.5 * (0.05 if self.observed < _FAST_STEP_UNTIL else 0.02)
        self.safety += step * (self._quantile if ratio > self.safety else self._quantile - 1.0)
        self.safety = min(max(self.safety, _SAFETY_RANGE[0]), _SAFETY_RANGE[1])
        self.error_ratio += (abs(ratio - 1.0) - self.error_ratio) / min(self.observed, _ERROR_MEMORY)

    def _learn(self, timing: BatchTiming, seconds: float) -> None:
        bucket = (half_octave(timing.size), half_octave(timing.tokens + 1.0))
        self._fit.add(bucket, (1.0, float(timing.size), float(timing.tokens)), seconds)

    def _refit(self) -> None:
        self._shape = self._fit.fit()
        self._apply()

    def _apply(self) -> None:
        base, each, token = self._shape
        self.base_s, self.each_s = self.scale * base, self.scale * each
        self.token_s = self.scale * token * self.counted


def _seconds(timing: BatchTiming) -> float:
    return max(timing.service_us, 1) / 1e6
