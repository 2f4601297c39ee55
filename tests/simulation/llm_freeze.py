"""Plays the baselines once and writes their figures beside the tests.

Usage: `python -m tests.simulation.llm_freeze [cell]...`. Each cell takes up to two minutes; cells that are not named
keep what was frozen before. Capacities are copied from `CAPACITY`: rates at which, on average over the three capacity
seeds, 99 % is good, found by bisection with the best of 20 limits and times at each rate.
"""

import sys
from typing import Any

import msgspec

from tests.simulation.llm_cells import FROZEN, SEEDS, Baseline, Cell, baseline_figures

ALL: tuple[Baseline, ...] = ("least_outstanding", "static_cap", "gate_ttl")
TABLE: tuple[Baseline, ...] = ("clumps", "aimd", "gate", "single", "run_to_completion")
CELLS: tuple[Cell, ...] = (
    *(Cell("poisson", rate) for rate in (60, 90, 110, 130, 160)),
    *(Cell("mmpp", rate) for rate in (90, 110, 130)),
)
CAPACITY = {
    "least_outstanding": {"poisson": 105.2, "mmpp": 61.3},
    "static_cap": {"poisson": 107.5, "mmpp": 62.3},
}


def freeze(keys: list[str]) -> None:
    """Play the named cells, all of them where none is named."""
    for cell in CELLS:
        if keys and cell.key not in keys:
            continue
        for baseline in (*ALL, *TABLE) if cell.key == "poisson/130" else ALL:
            by_seed = {str(seed): msgspec.to_builtins(baseline_figures(baseline, cell, seed)) for seed in SEEDS}
            known: dict[str, Any] = msgspec.json.decode(FROZEN.read_bytes()) if FROZEN.exists() else {"cells": {}}
            known["capacity"] = CAPACITY
            known["cells"].setdefault(baseline, {})[cell.key] = by_seed
            FROZEN.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n")


if __name__ == "__main__":
    freeze(sys.argv[1:])
