"""The defaults that the README of the processes states are those of the code."""

import re
from pathlib import Path
from typing import Final

import pytest

from processors.admission import estimates, quotas
from processors.batching import choice, concurrency, latency, margin, promises, run_to_completion, sizes, steps
from processors.batching import time_to_first_token as first_token
from processors.batching.knobs import QUANTILE, hold_s_of, utilisation_of
from processors.batching.outlook import KV_RATIO
from processors.routing.worker import RESERVE_RATIO
from topics.catalogue import HOUR_MS, Layout

README: Final = (Path(__file__).parents[3] / "pipeline" / "README.md").read_text()
SECTION: Final = README.partition("### What follows from them")[2].partition("\n## ")[0]
ROWS: Final = dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", SECTION, re.MULTILINE))


def figures(row: str) -> list[float]:
    """Numbers of a row, in order."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", ROWS[row])]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "turned away on arrival (`deadline_unmeetable`)",
            [run_to_completion._PREDICTABLE_AFTER, steps.TRUSTED_AFTER, steps.TRUSTED_AFTER_S],
        ),
        ("service time that deadlines are tested with", [100 * QUANTILE, *latency._SAFETY_RANGE, first_token.SAFETY]),
        (
            "answers in progress at a worker",
            [concurrency.MIN_SHARE, concurrency.MAX_SHARE, 100 * concurrency._TOLERATED_RATIO],
        ),
        (
            "part of `D` that is kept free when a request is let in to wait",
            [0, margin.MOST, 100 * margin.LATE_RATIO],
        ),
        (
            "prompt tokens that may wait inside a worker",
            [first_token.STEP_STRETCH, first_token.MIN_PROMPT_TOKENS],
        ),
        ("KV cache that is planned with", [100 * KV_RATIO, 100 * choice.HARVEST_KV_RATIO]),
        (
            "left free for more urgent classes",
            [choice.RESERVE, 1, choice.RECENT_S, 100 * choice.HARVEST_SHARE, promises.PATIENCE],
        ),
        ("burst", [quotas.REQUESTS_BURST_S, quotas.TOKENS_BURST_S]),
        (
            "what a request counts when it comes",
            [estimates.CHARS_PER_TOKEN, estimates.TEMPLATE_TOKENS, estimates.DEFAULT_ANSWER_TOKENS],
        ),
    ],
)
def test_a_row_states_the_constants_of_the_code(row: str, expected: list[float]) -> None:
    assert figures(row) == pytest.approx(expected)


def test_the_busy_share_follows_the_formula_and_its_examples() -> None:
    _, _, _, low, high, *examples = figures("busy share up to which batches stay small, `u`")
    assert "`0.83 - 0.1 log10 D`" in ROWS["busy share up to which batches stay small, `u`"]
    assert examples == [0.9, 0.2, 0.8, 2.0, 0.6, 200.0]
    assert [utilisation_of(slo_s) for slo_s in examples[1::2]] == pytest.approx(examples[::2], abs=0.001)
    assert (utilisation_of(1e-3), utilisation_of(1e6)) == (high, low)


def test_the_time_that_requests_are_held_follows_the_formula() -> None:
    share, longest_s = figures("a request may be held back for company")
    assert (hold_s_of(1.0), hold_s_of(1e4)) == (share, longest_s)


def test_what_is_not_worth_making_larger_follows_the_formula() -> None:
    assert figures("larger batches are not made")[1] == sizes._TAKE_FACTOR


def test_what_yields_leaves_an_eighth() -> None:
    assert "an eighth" in ROWS["left free by a class without `shed` in any case"]
    assert RESERVE_RATIO == 1 / 8


def test_records_are_kept_for_a_day_longer_than_they_may_be_needed() -> None:
    layout = Layout(models=(), longest_deadline_ms=5, dedupe_window_ms=7)
    assert layout.work_retention_ms == 12 + 24 * HOUR_MS
    assert "and 24 h together" in SECTION
