"""What the two cost models have in common: what their clock asks of them, their noise and their faults."""

import math
import random
from dataclasses import dataclass
from typing import Final, Protocol

from pipeline.engines.protocol import EngineRequest, Load, Output, StepCounts, Timings
from pipeline.settings import SimulatedDeployment
from topics.fleet import EngineMode, Limits

STRAGGLER_FACTOR: Final = 2.0
"""How much longer a straggler takes."""
WARM_UP_SIZES: Final = (1, 4, 16)
"""Sequences or batch sizes whose costs are told at the start, and the largest."""
_LIFE_SEEDS: Final = 1_000_003


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One engine step or batch: `finish` gives its outputs when `cost_ns` nanoseconds have passed."""

    cost_ns: int
    outputs: list[Output]


class CostModel(Protocol):
    """An engine without its clock. Seconds are of any clock that does not go back."""

    mode: EngineMode

    @property
    def limits(self) -> Limits:
        """What it can hold."""
        ...

    def has_crashed(self) -> bool:
        """Whether it is dead: it does no more steps."""
        ...

    def submit(self, request: EngineRequest, *, now_s: float) -> None:
        """Queue a sequence."""
        ...

    def abort(self, key: str) -> None:
        """End a sequence with the next step."""
        ...

    def next_step(self, now_s: float) -> Step | None:
        """Begin the next step; None where nothing may begin yet."""
        ...

    def finish(self, step: Step) -> list[Output]:
        """End the step that was begun last: what is to be delivered."""
        ...

    def wake_at_s(self) -> float | None:
        """When something may begin though nothing new comes; None for never."""
        ...

    def load(self) -> Load:
        """Present occupation."""
        ...

    def take_steps(self) -> StepCounts:
        """Step counts since the call before."""
        ...

    def take_timings(self) -> Timings:
        """Timings since the call before."""
        ...

    def charged(self) -> dict[str, int]:
        """By key, what the sequences that have not ended were charged."""
        ...


class Noise:
    """Varies costs as real engines do: log-normally with mean 1, and now and then a straggler.

    Args:
        settings: how much, and the seed.
        life: how often the engine was started before; moves what is drawn on.
    """

    __slots__ = ("_random", "_sigma", "_straggler_ratio")

    def __init__(self, settings: SimulatedDeployment, life: int) -> None:
        # Not the generator of the faults, so that the same requests fail with and without noise.
        self._random = random.Random(f"{settings.seed}/{life}")
        self._sigma = settings.noise_sigma
        self._straggler_ratio = settings.straggler_ratio

    def vary(self, cost_us: float) -> int:
        """The cost of the next step in nanoseconds."""
        if self._sigma:
            cost_us *= math.exp(self._random.gauss(-self._sigma * self._sigma / 2, self._sigma))
        if self._straggler_ratio and self._random.random() < self._straggler_ratio:
            cost_us *= STRAGGLER_FACTOR
        return round(cost_us * 1000)


class Faults:
    """Draws which requests fail, and which one the engine dies of.

    Args:
        settings: how often, and the seed.
        life: how often the engine was started before; moves what is drawn on.
    """

    __slots__ = ("_arrivals", "_crash_in", "_fail_ratio", "_random", "has_crashed")

    def __init__(self, settings: SimulatedDeployment, life: int) -> None:
        self._random = random.Random(settings.seed * _LIFE_SEEDS + life)
        self._crash_in = self._random.randint(1, 2 * settings.crash_every) if settings.crash_every else 0
        self._fail_ratio = settings.fail_ratio
        self._arrivals = 0
        self.has_crashed = False

    def on_arrival(self) -> int:
        """The number of the next request, from 1; it may be the one that the engine dies of."""
        self._arrivals += 1
        if self._arrivals == self._crash_in:
            self.has_crashed = True
        return self._arrivals

    def will_fail(self) -> bool:
        """Whether the request that has just come fails."""
        return self._fail_ratio > 0 and self._random.random() < self._fail_ratio


def limits_of(settings: SimulatedDeployment) -> Limits:
    """What the engine can hold at most."""
    return Limits(
        max_sequences=settings.max_sequences,
        max_kv_tokens=settings.max_kv_tokens,
        max_batch_tokens=settings.max_batch_tokens,
        max_context_tokens=min(settings.max_context_tokens, settings.max_kv_tokens),
    )


def warm_up_sizes(largest: int) -> list[int]:
    """Sizes that a warm-up tries, ascending."""
    return [*(size for size in WARM_UP_SIZES if size < largest), largest]


def share(cost_ns: int, count: int) -> list[int]:
    """A step's time, split equally over `count` sequences: the first ones get the nanoseconds that do not divide."""
    part, rest = divmod(cost_ns, count)
    return [part + (index < rest) for index in range(count)]


class Counts:
    """Sums over steps; time that is less than a microsecond is carried over to the next call."""

    __slots__ = ("_busy_ns", "_charged_ns", "_decode", "_prefill", "_running_max", "_steps", "_waiting_max")

    def __init__(self) -> None:
        self._busy_ns = 0
        self._charged_ns = 0
        self._steps = 0
        self._prefill = 0
        self._decode = 0
        self._running_max = 0
        self._waiting_max = 0

    def add(self, cost_ns: int, *, prefill: int, decode: int, running: int, waiting: int) -> None:
        """Count one step."""
        self._steps += 1
        self._busy_ns += cost_ns
        self._charged_ns += cost_ns
        self._prefill += prefill
        self._decode += decode
        self._running_max = max(self._running_max, running)
        self._waiting_max = max(self._waiting_max, waiting)

    def take(self, kv_usage_ratio: float) -> StepCounts:
        """The sums, which begin anew."""
        busy_us, self._busy_ns = divmod(self._busy_ns, 1000)
        counts = StepCounts(
            steps=self._steps,
            busy_us=busy_us,
            prefill_tokens=self._prefill,
            decode_tokens=self._decode,
            running_max=self._running_max,
            waiting_max=self._waiting_max,
            kv_usage_ratio=kv_usage_ratio,
            busy_ns=self._charged_ns,
        )
        self._charged_ns = 0
        self._steps = self._prefill = self._decode = 0
        self._running_max = self._waiting_max = 0
        return counts
