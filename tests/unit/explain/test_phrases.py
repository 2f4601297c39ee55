"""Figures in words: units at the ends of names decide."""

import pytest

from pipeline.explain.facts import figures_of
from pipeline.explain.phrases import figure, number, plural, span


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("slack_s", 0.31, "slack 310 ms"),
        ("slack_s", -4.2, "slack -4.20 s"),
        ("hop_ms", 2.5, "hop 2.5 ms"),
        ("arrivals_per_s", 118.54, "arrivals 119/s"),
        ("queue_ahead_requests", 1.0, "queue ahead 1 request"),
        ("queue_ahead_tokens", 5120.0, "queue ahead 5,120 tokens"),
        ("kv_usage_ratio", 0.971, "kv usage 97%"),
        ("predicted_ttft_s", 0.08, "first token predicted in 80 ms"),
        ("size_limit", 16.0, "size limit 16"),
        ("s", 3.0, "s 3"),
    ],
)
def test_figures(name: str, value: float, text: str) -> None:
    assert figure(name, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 ms"), (0.0004, "0.4 ms"), (0.012, "12 ms"), (3.414, "3.41 s"), (310, "5 min 10 s"), (7500, "2 h 05 min")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_numbers_have_no_more_digits_than_they_need() -> None:
    assert [number(value) for value in (3.0, 0.12345, 1234.5, 20000)] == ["3", "0.123", "1,234", "20,000"]


def test_one_has_no_plural() -> None:
    assert [plural(count, "token") for count in (1, 2, 1000)] == ["1 token", "2 tokens", "1,000 tokens"]


@pytest.mark.parametrize("detail", ["", "inference.requests.m.bulk/0/1", '{"worker": "w1"}', "{broken"])
def test_a_detail_that_is_no_figures_has_none(detail: str) -> None:
    assert figures_of(detail) == {}
