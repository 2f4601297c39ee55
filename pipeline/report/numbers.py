"""Numbers for people, the same in plots, tables and captions: three significant digits and a unit.

A number and its unit stay on one line: what stands between them does not break.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_UNITS_MS: Final = (
    (7_200_000.0, 3_600_000.0, "h"),
    (120_000.0, 60_000.0, "min"),
    (1000.0, 1000.0, "s"),
    (1.0, 1.0, "ms"),
)
"""From how many milliseconds on which unit is used. 90 s and 100 minutes read better than 1.5 min and 1.67 h."""
SPACE: Final = "\u00a0"
_SUFFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What an axis counts: how its values are written, what is round in it, and whether it may be logarithmic."""

    label: Format
    unit: Callable[[float], float] = lambda _: 1.0
    may_be_log: bool = False


def duration_ms(value: float) -> str:
    """Milliseconds as `480 µs`, `12.5 ms`, `3.4 s`, `5 min`, `2.5 h`."""
    if value <= 0:
        return "0"
    for least, size, unit in _UNITS_MS:
        if value >= least * 0.9995:
            return f"{digits(value / size)}{SPACE}{unit}"
    return f"{digits(value * 1000)}{SPACE}µs"


def duration_unit(value: float) -> float:
    """How many milliseconds the unit has in which `duration_ms` tells a value: ticks are round in it."""
    return next((size for least, size, _ in _UNITS_MS if value >= least * 0.9995), 1.0)


def duration_s(value: float) -> str:
    """Seconds as `duration_ms` would."""
    return duration_ms(value * 1000)


def count(value: float) -> str:
    """`950`, `1.2 k`, `3.45 M`: for axes, where space is short."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= size:
            return f"{digits(value / size)}{SPACE}{suffix}"
    return digits(value)


def whole(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """A ratio as per cent. What is not all of it never reads as 100 %, and what is not nothing never as 0 %."""
    if 0.9995 <= value < 1:
        return f">{SPACE}99.9{SPACE}%"
    if 0 < value < 0.0005:
        return f"<{SPACE}0.1{SPACE}%"
    return f"{value * 100:.3g}{SPACE}%"


def money(value: float) -> str:
    """US dollars: cents, and below ten of them two significant digits."""
    return f"${value:,.2f}" if value >= 0.095 or value == 0 else f"${value:.2g}"


def digits(value: float) -> str:
    """Three significant digits without an exponent or trailing zeros; thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}" if abs(value) >= 0.0995 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


COUNT: Final = Quantity(label=count)
DURATION_MS: Final = Quantity(label=duration_ms, unit=duration_unit, may_be_log=True)
