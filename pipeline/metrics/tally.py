"""Counts of one process by the names of the catalogue. Plain arithmetic; nothing here knows Prometheus or a clock."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final

from topics.measures import BUCKETS, Measure, Name, Process, measures_of

Labels = tuple[str, ...]
"""Values of a measure's labels, in the catalogue's order."""
Source = Callable[[], Mapping[Labels, float]]
"""Present values of a measure by labels; called when somebody asks."""

MAX_SERIES: Final = 1000
"""Of one measure. Label values beyond that are counted together, as `OTHER`: they would be ids."""
OTHER: Final = "other"


class Histogram:
    """How often values fell into each bucket. `counts` has one entry more than there are bounds: what is above all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """The measures that one kind of process exports.

    Counting a measure that the catalogue does not give to this kind of process does nothing: processor and worker count
    the same rows, and each keeps what is its own.
    """

    def __init__(self, process: Process) -> None:
        self.measures: tuple[Measure, ...] = measures_of(process)
        self._counters: dict[Name, dict[Labels, float]] = {m.name: {} for m in self.measures if m.kind != "histogram"}
        self._histograms: dict[Name, dict[Labels, Histogram]] = {
            m.name: {} for m in self.measures if m.kind == "histogram"
        }
        self._sources: dict[Name, list[Source]] = {}

    def count(self, name: Name, labels: Labels, by: float = 1) -> None:
        """Add to a counter."""
        series = self._counters.get(name)
        if series is not None:
            labels = _bounded(labels, series)
            series[labels] = series.get(labels, 0) + by

    def observe(self, name: Name, labels: Labels, value: float) -> None:
        """Count a value of a histogram."""
        series = self._histograms.get(name)
        if series is None:
            return
        labels = _bounded(labels, series)
        histogram = series.get(labels)
        if histogram is None:
            histogram = series[labels] = Histogram(BUCKETS[name])
        histogram.observe(value)

    def ask(self, name: Name, source: Source) -> None:
        """Take values of a counter or gauge from `source`, beside those of other sources and what is counted here."""
        self._sources.setdefault(name, []).append(source)

    def values(self, name: Name) -> dict[Labels, float]:
        """Present values of a counter or gauge. Those of several sources with the same labels are added."""
        found = dict(self._counters[name])
        for source in self._sources.get(name, ()):
            for labels, value in source().items():
                found[labels] = found.get(labels, 0) + value
        return found

    def histograms(self, name: Name) -> Mapping[Labels, Histogram]:
        """Histograms of a measure by labels."""
        return self._histograms[name]


def _bounded(labels: Labels, series: Mapping[Labels, object]) -> Labels:
    return labels if labels in series or len(series) < MAX_SERIES else (OTHER,) * len(labels)
