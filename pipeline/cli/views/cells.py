"""Values of a column as text for people: one way of writing for all of them, so that they can be compared."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

DIGITS: Final = 4
"""Significant digits of the largest number of a column."""
MOST_DECIMALS: Final = 6
NOTHING: Final = "-"


def texts(name: str, values: Sequence[Any], *, short: bool = False) -> list[str]:
    """Every value of a column: numbers with the same decimals, times as short as all of them allow.

    `short` leaves out what can be spared: parts of a second, decimals of what goes up to thousands.
    """
    if is_answer(name, values):
        return [NOTHING if _is_nothing(value) else "yes" if value else "no" for value in values]
    moments = [value for value in values if isinstance(value, datetime)]
    form, decimals = _time_form(moments, short=short), _decimals(values, least=0 if short else 1)
    return [_text(value, form, decimals) for value in values]


def is_numeric(name: str, values: Sequence[Any]) -> bool:
    """Whether a column holds numbers, which stand to the right."""
    return bool(values) and not is_answer(name, values) and all(value is None or _is_number(value) for value in values)


def is_answer(name: str, values: Sequence[Any]) -> bool:
    """Whether a column says yes or no: ClickHouse has 1 and 0 for it."""
    return name.startswith("is_") and all(value in (None, 0, 1) for value in values)


def _text(value: Any, form: str, decimals: int) -> str:
    if _is_nothing(value):
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _float(value, decimals)
    if isinstance(value, datetime):
        said = value.strftime(form)
        return said[:-3] if form.endswith("%f") else said
    if isinstance(value, list | tuple):
        return ", ".join(texts("", value))
    return value.hex() if isinstance(value, bytes) else str(value)


def _float(value: float, decimals: int) -> str:
    """As its column has it; what would vanish beside a large number keeps two digits."""
    if value and abs(value) < 10.0**-decimals and math.isfinite(value):
        return f"{value:.{min(1 - math.floor(math.log10(abs(value))), 12)}f}"
    return f"{value:,.{decimals}f}"


def _decimals(values: Sequence[Any], *, least: int) -> int:
    """So many that the largest has `DIGITS` digits, and no more than any of them needs."""
    known = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    highest = max(map(abs, known), default=0.0)
    if not highest:
        return 0
    most = min(max(DIGITS - 1 - math.floor(math.log10(highest)), least), MOST_DECIMALS)
    return max(len(f"{value:.{most}f}".rstrip("0").partition(".")[2]) for value in known)


def _time_form(moments: Sequence[datetime], *, short: bool) -> str:
    if not short and any(moment.microsecond for moment in moments):
        return "%Y-%m-%d %H:%M:%S.%f"
    return "%Y-%m-%d %H:%M:%S" if any(moment.second or moment.microsecond for moment in moments) else "%Y-%m-%d %H:%M"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or value != value
