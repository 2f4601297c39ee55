"""The catalogue of measures."""

from typing import get_args

import pytest

from topics.measures import MEASURES, Measure, Name

SUFFIX = {"counter": ("_total",), "histogram": ("_seconds", "_size"), "gauge": ("",)}


def test_every_name_is_described_once() -> None:
    assert sorted(measure.name for measure in MEASURES) == sorted(get_args(Name))


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: str(measure.name))
def test_a_measure_is_named_after_its_kind_and_says_what_to_do(measure: Measure) -> None:
    assert measure.name.endswith(SUFFIX[measure.kind])
    assert measure.meaning and measure.action


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: str(measure.name))
def test_no_label_is_an_id(measure: Measure) -> None:
    assert not {"id", "request_id", "origin", "attempt", "batch_id", "trace_id"} & set(measure.labels)
