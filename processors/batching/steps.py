"""How long a step of a continuously batching engine takes, learned from the steps that workers report.

A step takes `drift * (fixed + sequence * n + kv_token * K + prompt_token * P)` seconds: n sequences get a token each,
K tokens are held by all sequences, P prompt tokens are computed. The shape is fitted over buckets of steps, so that
minutes of small steps do not erase what is known about large ones; the drift follows throttling and noisy neighbours.
"""

from typing import Final, NamedTuple

from processors.batching.regression import BucketedFit, half_octave, short
from topics.fleet import ModelFigures, StepSample

PRIOR: Final = (0.010, 3e-5, 1e-7, 6e-5)
"""Seconds: about an 8-billion-parameter model on a slow accelerator. Any measurement outweighs it."""
KNOWN_AFTER: Final = 8
"""Steps before the model is used: those that one worker times while it warms up."""
SETTLED_AFTER: Final = 20
"""Steps that are each fitted as they are; later ones are clipped, and fitted now and then."""
TRUSTED_AFTER: Final = 200
"""Steps before a request may be turned away because of a prediction."""
TRUSTED_AFTER_S: Final = 10.0
"""Of steps, more than `SETTLED_AFTER`, are enough too: of a slow engine 200 would take too long."""
DRIFT_GAIN: Final = 0.02
ERROR_GAIN: Final = 0.02

_FLOOR_RATIO: Final = 0.02
_CLIP: Final = (0.5, 1.5)
"""A step that differs from its prediction by more was disturbed (a pause, a compilation) and counts as this much."""


class StepCost(NamedTuple):
    """Seconds for a step, and for each sequence, held token and prompt token in it."""

    fixed_s: float
    sequence_s: float
    kv_token_s: float
    prompt_token_s: float

    def duration_s(self, sequences: float, kv_tokens: float, prompt_tokens: float) -> float:
        """Expected duration of a step."""
        return (
            self.fixed_s
            + self.sequence_s * sequences
            + self.kv_token_s * kv_tokens
            + self.prompt_token_s * prompt_tokens
        )


class StepModel:
    """Learns from steps in the order in which they are told; deterministic.

    Attributes:
        steps: how many were learned from. Steps that took no time say nothing and do not count.
        timed_s: how long they took together.
        error_ratio: mean of |actual - predicted| / predicted of late.

    Source: Dynamo's planner (bucketed regression samples); the drift is an exponential filter of actual / predicted.
    """

    __slots__ = ("_drift", "_fit", "_next_fit", "_shape", "error_ratio", "steps", "timed_s")

    def __init__(self) -> None:
        self._fit = BucketedFit(PRIOR, floors=tuple(_FLOOR_RATIO * prior for prior in PRIOR))
        self._shape: tuple[float, ...] = PRIOR
        self._drift = 1.0
        self._next_fit = 1
        self.steps = 0
        self.timed_s = 0.0
        self.error_ratio = 0.0

    @property
    def cost(self) -> StepCost:
        """What steps cost at present."""
        return StepCost(*[self._drift * coefficient for coefficient in self._shape])

    @property
    def is_known(self) -> bool:
        """Whether it may be used at all."""
        return self.steps >= KNOWN_AFTER

    @property
    def is_trusted(self) -> bool:
        """Whether a request may be turned away for what it says."""
        return self.steps >= TRUSTED_AFTER or (self.steps > SETTLED_AFTER and self.timed_s >= TRUSTED_AFTER_S)

    def figures(self, deployment: str) -> ModelFigures:
        """Its state, for people."""
        names = ("step", "sequence", "kv_token", "prompt_token")
        return ModelFigures(
            deployment=deployment,
            shape_us={name: short(1e6 * seconds) for name, seconds in zip(names, self._shape, strict=True)},
            scale=short(self._drift),
            safety=1.0,
            samples=self.steps,
            error_ratio=short(self.error_ratio),
        )

    def learn(self, sample: StepSample) -> None:
        """A step was timed."""
        actual_s = sample.duration_us / 1e6
        if actual_s <= 0:
            return
        self.steps += 1
        self.timed_s += actual_s
        fixed, sequence, kv_token, prompt_token = self._shape
        predicted_s = self._drift * (
            fixed + sequence * sample.decoding + kv_token * sample.kv_tokens + prompt_token * sample.prefill_tokens
        )
        if self.steps > SETTLED_AFTER:
            self.error_ratio += ERROR_GAIN * (abs(actual_s / predicted_s - 1) - self.error_ratio)
            actual_s = min(max(actual_s, _CLIP[0] * predicted_s), _CLIP[1] * predicted_s)
            self._drift *= 1 + DRIFT_GAIN * (actual_s / predicted_s - 1)
        bucket = (half_octave(sample.decoding + 1), sample.prefill_tokens.bit_length())
        features = (1.0, float(sample.decoding), float(sample.kv_tokens), float(sample.prefill_tokens))
        self._fit.add(bucket, features, actual_s / self._drift)
        if self.steps >= self._next_fit:
            self._shape = self._fit.fit()
            self._next_fit = self.steps + _steps_between_fits(self.steps)


def _steps_between_fits(steps: int) -> int:
    """Every step at first, then every 50, and every 500 in the long run: a fit costs as much as hundreds of steps."""
    return 1 if steps < SETTLED_AFTER else min(500, max(50, steps // 10))
