"""Values of table cells that several sections share. Pure."""

from pipeline.report import numbers
from pipeline.report.facts import Percentiles


def milliseconds(value: float) -> str:
    """A length of time, or a dash for NaN and nothing."""
    return "–" if value != value or value <= 0 else numbers.duration_ms(value)


def three(values: Percentiles) -> str:
    """Three percentiles in one cell."""
    return " / ".join(map(milliseconds, values)) if values[0] == values[0] else "–"
