"""A tally as Prometheus reads it. The client library writes the text and negotiates the format."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from pipeline.metrics.tally import Histogram, Tally
from topics.measures import Measure


def families(tally: Tally) -> list[Metric]:
    """All measures of a tally with their present values, also those that have none yet."""
    return [_family(tally, measure) for measure in tally.measures]


def _family(tally: Tally, measure: Measure) -> Metric:
    if measure.kind == "histogram":
        histograms = HistogramMetricFamily(measure.name, measure.meaning, labels=measure.labels)
        for labels, histogram in tally.histograms(measure.name).items():
            histograms.add_metric(labels, buckets=list(_cumulated(histogram)), sum_value=histogram.total)
        return histograms
    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    plain = kind(measure.name, measure.meaning, labels=measure.labels)
    for labels, value in tally.values(measure.name).items():
        plain.add_metric(labels, value)
    return plain


def _cumulated(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Pairs of upper bound and how many values are not above it."""
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        yield "+Inf" if bound == float("inf") else str(float(bound)), below
