"""From rows by bucket to lines over a span: what is missing is a gap for a percentile and nothing for a count. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from pipeline.report.plots.frame import Span
from pipeline.report.plots.lines import Line

TONES: Final = ("c1", "c2", "c3", "c4", "c5", "c6")
REST: Final = "c7"


class Bucketed(Protocol):
    """A row of a bucket."""

    @property
    def bucket(self) -> int:
        """From 0."""
        ...


B = TypeVar("B", bound=Bucketed)


def gaps(span: Span, rows: Iterable[B], value: Callable[[B], float]) -> list[float | None]:
    """A value per bucket, None where there is no row or its value is NaN."""
    found: list[float | None] = [None] * len(span.starts)
    for row in rows:
        if row.bucket < len(found) and not math.isnan(value(row)):
            found[row.bucket] = value(row)
    return found


def sums(span: Span, rows: Iterable[B], value: Callable[[B], float]) -> list[float]:
    """The sum of each bucket's rows, 0 where there are none."""
    found = [0.0] * len(span.starts)
    for row in rows:
        if row.bucket < len(found):
            found[row.bucket] += value(row)
    return found


def rates(span: Span, rows: Iterable[B], value: Callable[[B], float]) -> list[float]:
    """The sums per second. The last bucket may be shorter than the others."""
    lengths = [min(span.step_s, span.to_s - start) for start in span.starts]
    return [total / length for total, length in zip(sums(span, rows, value), lengths, strict=True)]


def by(rows: Iterable[B], key: Callable[[B], str], weight: Callable[[B], float]) -> dict[str, list[B]]:
    """Rows by key, the heaviest key first."""
    groups: dict[str, list[B]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return dict(sorted(groups.items(), key=lambda item: (-sum(map(weight, item[1])), item[0])))


def toned(names: Sequence[str], values: Callable[[str], Sequence[float | None]]) -> list[Line]:
    """A line for each name, each with a colour of its own as far as they go."""
    return [
        Line(name=name, values=values(name), tone=TONES[index] if index < len(TONES) else REST)
        for index, name in enumerate(names)
    ]
