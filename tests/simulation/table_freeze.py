"""Plays the baselines of the tables again and writes what they reach.

Usage: `python -m tests.simulation.table_freeze [key]...`. Configurations of the run-to-completion baselines stay those
in the file. All cells together take about half an hour.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.simulation import llm_cells, llm_table
from tests.simulation.rtc_cells import SEEDS, Cell, Options, play_baseline
from tests.simulation.rtc_tuning import cells, figures

FILE: Final = Path(__file__).with_name("tables.json")
CLASS_SEEDS: Final = (31, 32)
CLASS_S: Final = 10.0


def play_rtc(policy: str, options: Options, cell: Cell) -> dict[str, Any]:
    """A configuration and its means over the seeds."""
    played: Any = "triton" if policy == "fixed" else policy
    return {"options": options, **figures([play_baseline(played, options, cell, seed) for seed in SEEDS])}


def play_classes(options: Options, cell: Cell) -> dict[str, Any]:
    """A configuration of three classes and its means over seeds of their own."""
    short = replace(cell, duration_s=CLASS_S)
    return {"options": options, **figures([play_baseline("levels", options, short, seed) for seed in CLASS_SEEDS])}


def play_llm(policy: Any, key: str) -> dict[str, float]:
    """Means over the seeds."""
    shape, rate = key.split("/")
    cell = llm_cells.Cell(shape, float(rate))  # type: ignore[arg-type]
    played = [llm_cells.baseline_figures(policy, cell, seed) for seed in llm_cells.SEEDS]
    names = ("goodput", "ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms")
    return {name: round(sum(getattr(each, name) for each in played) / len(played), 4) for name in names}


def freeze(keys: list[str]) -> None:
    """Play the named cells, all of them where none is named."""
    tables: dict[str, dict[str, Any]] = msgspec.json.decode(FILE.read_bytes())
    for key, known in tables["rtc"].items():
        if not keys or key in keys:
            tables["rtc"][key] = {name: play_rtc(name, each["options"], cells()[key]) for name, each in known.items()}
    for key, known in tables["classes"].items():
        if not keys or key in keys:
            cell = cells()[f"classes {key}"]
            tables["classes"][key] = {name: play_classes(each["options"], cell) for name, each in known.items()}
    for key in tables["llm"]:
        if not keys or key in keys:
            policies = [policy for policy, of, _ in llm_table.ROWS if of == key]
            tables["llm"][key] = {policy: play_llm(policy, key) for policy in policies}
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(tables), indent=1) + b"\n")


if __name__ == "__main__":
    freeze(sys.argv[1:])
