"""Values of table cells that several sections share. Pure."""

from collections.abc import Sequence

from pipeline.report import numbers
from pipeline.report.facts import Percentiles
from pipeline.report.markup import Markup, element, joined


def milliseconds(value: float) -> str:
    """A length of time, or a dash for NaN and nothing."""
    return "–" if value != value or value <= 0 else numbers.duration_ms(value)


def three(values: Percentiles) -> str:
    """Three percentiles in one cell."""
    return parts([milliseconds(value) for value in values]) if values[0] == values[0] else "–"


def parts(values: Sequence[str], between: str = " / ") -> Markup:
    """Values in one cell: beside each other with `between` them, below each other where the page is narrow."""
    *others, last = values
    return joined(
        *(element("span", value, element("i", between), class_="part") for value in others),
        element("span", last, class_="part"),
    )
