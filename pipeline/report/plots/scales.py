"""Where values lie on an axis, and at which values it is marked. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline.report.numbers import Quantity

_TIME_STEPS_S: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200),
    *(86_400, 172_800, 604_800, 1_209_600, 2_592_000),
)
LOG_FROM_RATIO: Final = 40.0
"""From this ratio of largest to smallest on, a linear axis would flatten what is small."""
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps values between `low` and `high` to `start` and `end`, which may run backwards. Values outside are cut."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Position of a value."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def nice_ticks(high: float, *, at_most: int = 5) -> list[float]:
    """Round values from 0 to at least `high`: 1, 2, 2.5 or 5 times a power of ten apart."""
    if high <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(high / at_most))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power * at_most >= high * 0.9999)
    return [i * step for i in range(math.ceil(high / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that enclose both, where they are few with 3 times each in between."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    powers = [10.0**p for p in range(first, last + 1)]
    if len(powers) > 3:
        return powers
    between = [3 * p for p in powers[:-1]]
    ticks = sorted([*powers, *between])
    while len(ticks) > 2 and ticks[1] <= low:
        ticks.pop(0)
    while len(ticks) > 2 and ticks[-2] >= high:
        ticks.pop()
    return ticks


def value_ticks(values: Sequence[float], quantity: Quantity) -> tuple[list[float], bool]:
    """Ticks of an axis that holds `values`, and whether it is logarithmic: where they differ by more than 40 times."""
    positive = [value for value in values if value > 0]
    high = max(positive, default=0.0)
    if quantity.may_be_log and positive and high / min(positive) > LOG_FROM_RATIO:
        return log_ticks(min(positive), high), True
    unit = quantity.unit(high)
    return [tick * unit for tick in nice_ticks(high / unit)], False


def time_ticks(from_s: float, to_s: float, *, at_most: int = 6) -> list[int]:
    """Round times between two others, seconds since the epoch in UTC."""
    length = max(to_s - from_s, 1)
    step = next((s for s in _TIME_STEPS_S if length / s <= at_most), _TIME_STEPS_S[-1] * math.ceil(length / 1.5e7))
    first = math.ceil(from_s / step) * step
    return list(range(first, int(to_s) + 1, step))


def time_label(at_s: float, *, length_s: float) -> str:
    """A tick's time: seconds, minutes or the day, whatever a range of this length calls for."""
    at = datetime.fromtimestamp(at_s, UTC)
    if length_s > 4 * DAY_S or (length_s > 20 * 3600 and at.hour == at.minute == 0):
        return f"{at.day} {at:%b}"
    return f"{at:%H:%M:%S}" if length_s < 300 else f"{at:%H:%M}"
