"""The simulated worlds are those in which the baselines were first measured: their tables come out again.

`tables.json` has what the baselines reach today (`python -m tests.simulation.table_freeze`). A figure agrees if it is
within 2 % of what was printed, which is itself rounded.
"""

from typing import Any

import msgspec
import pytest

from tests.simulation import llm_table, rtc_table
from tests.simulation.llm_cells import SEEDS, Cell, baseline_figures
from tests.simulation.rtc_tuning import cells
from tests.simulation.table_freeze import FILE, play_classes, play_rtc

SAME, LOOSE = 0.02, 0.10
RTC = {"goodput": 0.05, "p50_ms": 0.5, "p99_ms": 0.5, "mean_size": 0.5, "utilisation": 0.005}
LLM = {"goodput": 0.05, "ttft_p50_ms": 0.5, "ttft_p99_ms": 0.5, "tpot_p50_ms": 0.5}
"""Half of the last printed place of each column."""
CLASSES = ("goodput_realtime", "goodput_interactive", "goodput_standard", "goodput")
TODAY: dict[str, Any] = msgspec.json.decode(FILE.read_bytes())


def off(value: float, printed: float, half_place: float, tolerance: float = SAME) -> bool:
    return abs(value - printed) > tolerance * printed + half_place


def differing(
    today: dict[str, float], row: tuple[float, ...], places: dict[str, float], loose: tuple[str, ...] = ()
) -> list[str]:
    """The columns that do not agree."""
    values = {**today, "goodput": 100 * today["goodput"]}
    return [
        f"{column}: {values[column]} for {printed}"
        for (column, place), printed in zip(places.items(), row, strict=False)
        if off(values[column], printed, place, LOOSE if column in loose else SAME)
    ]


@pytest.mark.parametrize(("policy", "key", "row"), rtc_table.ROWS)
def test_a_run_to_completion_baseline_is_as_first_measured(policy: str, key: str, row: tuple[float, ...]) -> None:
    columns = row[:1] if (policy, key) in rtc_table.OTHER_BEST else row

    assert differing(TODAY["rtc"][key][policy], columns, RTC) == []


@pytest.mark.parametrize(("policy", "key", "row"), llm_table.ROWS)
def test_a_baseline_before_continuous_engines_is_as_first_measured(
    policy: str, key: str, row: tuple[float, ...]
) -> None:
    columns = row[:1] if (policy, key) in llm_table.OTHER_BEST else row

    assert differing(TODAY["llm"][key][policy], columns, LLM, llm_table.LOOSE.get((policy, key), ())) == []


@pytest.mark.parametrize(("order", "key", "row"), rtc_table.CLASSES)
def test_an_order_of_classes_is_as_first_measured(order: str, key: str, row: tuple[float, ...]) -> None:
    today = TODAY["classes"][key][order]
    places = (0.005, 0.005, 0.005, 0.0005)

    assert not any(off(today[name], printed, place) for name, printed, place in zip(CLASSES, row, places, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("key", ["onoff 0.1 hop 2 ms", "mmpp 0.1 hop 0 ms"])
def test_run_to_completion_is_played_as_it_was_when_the_tables_were_frozen(key: str) -> None:
    known = TODAY["rtc"][key]["fixed"]

    assert play_rtc("fixed", known["options"], cells()[key]) == known


@pytest.mark.slow
def test_classes_are_played_as_they_were_when_the_tables_were_frozen() -> None:
    known = TODAY["classes"]["mmpp 0.6 hop 2 ms"]["priority"]

    assert play_classes(known["options"], cells()["classes mmpp 0.6 hop 2 ms"]) == known


@pytest.mark.slow
def test_continuous_engines_are_played_as_they_were_when_the_tables_were_frozen() -> None:
    played = [baseline_figures("least_outstanding", Cell("diurnal", 30), seed) for seed in SEEDS]
    known = TODAY["llm"]["diurnal/30"]["least_outstanding"]

    assert sum(each.goodput for each in played) / len(SEEDS) == pytest.approx(known["goodput"], abs=1e-4)
    assert sum(each.ttft_p99_ms for each in played) / len(SEEDS) == pytest.approx(known["ttft_p99_ms"], abs=1e-3)
