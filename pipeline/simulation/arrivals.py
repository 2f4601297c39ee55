"""When requests arrive: synthetic traffic of four shapes, as sorted times in seconds from 0.

Every generator takes a numpy `Generator` and the mean rate per second, and returns an array of shape [requests]. The
same generator state gives the same times.
"""

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Shape = Literal["poisson", "mmpp", "onoff", "diurnal"]

_GRID_S: Final = 0.005
_DIURNAL_GRID_S: Final = 0.01


def poisson(rng: np.random.Generator, rate_per_s: float, duration_s: float) -> Times:
    """Independent arrivals at a constant rate."""
    count = rng.poisson(rate_per_s * duration_s)
    return np.sort(rng.random(count) * duration_s)


def piecewise(rng: np.random.Generator, rates_per_s: Times, step_s: float) -> Times:
    """Independent arrivals at a rate that is constant for `step_s` at a time."""
    counts = rng.poisson(np.maximum(rates_per_s, 0) * step_s)
    starts = np.repeat(np.arange(len(counts)) * step_s, counts)
    return np.sort(starts + rng.random(len(starts)) * step_s)


def mmpp(
    rng: np.random.Generator,
    rate_per_s: float,
    duration_s: float,
    *,
    high: float = 3.0,
    low: float = 0.5,
    mean_high_s: float = 0.5,
    mean_low_s: float = 2.0,
) -> Times:
    """A rate that jumps between `high` and `low` times a base, with exponential stays; the mean rate is met exactly.

    Source: two-state Markov-modulated Poisson process.
    """
    share = mean_high_s / (mean_high_s + mean_low_s)
    base = rate_per_s / (share * high + (1 - share) * low)
    steps = int(duration_s / _GRID_S) + 1
    rates = np.empty(steps)
    is_high, at = False, 0
    while at < steps:
        stay_s = rng.exponential(mean_high_s if is_high else mean_low_s)
        until = min(steps, at + max(1, int(stay_s / _GRID_S)))
        rates[at:until] = base * (high if is_high else low)
        at, is_high = until, not is_high
    return piecewise(rng, rates * (rate_per_s / rates.mean()), _GRID_S)


def onoff(rng: np.random.Generator, rate_per_s: float, duration_s: float) -> Times:
    """All traffic in bursts of 0.3 s on average, with 0.7 s of silence between them."""
    return mmpp(rng, rate_per_s, duration_s, high=1.0, low=0.0, mean_low_s=0.7, mean_high_s=0.3)


def diurnal(rng: np.random.Generator, rate_per_s: float, duration_s: float, *, ratio: float = 5.0) -> Times:
    """One sine over the whole duration with a peak of `ratio` times its trough, modulated by 20 % each second."""
    steps = int(duration_s / _DIURNAL_GRID_S) + 1
    depth = (ratio - 1) / (ratio + 1)
    rates = rate_per_s * (1 - depth * np.cos(2 * np.pi * np.arange(steps) * _DIURNAL_GRID_S / duration_s))
    modulation = np.exp(rng.normal(0, 0.2, int(duration_s) + 2))
    rates = rates * np.repeat(modulation, int(1 / _DIURNAL_GRID_S))[:steps]
    return piecewise(rng, rates * (rate_per_s / rates.mean()), _DIURNAL_GRID_S)


SHAPES: Final[dict[Shape, Callable[[np.random.Generator, float, float], Times]]] = {
    "poisson": poisson,
    "mmpp": mmpp,
    "onoff": onoff,
    "diurnal": diurnal,
}
