"""Finds the best configuration of each baseline in each cell: `python -m tests.simulation.rtc_tuning FILE KEY...`.

Every configuration plays the first seed, the three best of a policy play all of them, and the best of those is kept
with its figures. The product is compared with these: baselines are favoured, because they are tuned on the seeds that
count. Capacities are searched the same way, with seeds of their own.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.simulation.rtc.world import Results
from tests.simulation.rtc_cells import (
    CAPACITY_SEEDS,
    SEEDS,
    THREE_CLASSES,
    Cell,
    Options,
    Policy,
    mean_of,
    play_baseline,
)

FIXED: Final[Options] = {"preferred": 32, "delay_s": 0.005}
LOADS: Final = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0, 1.3)
CLASS_LOADS: Final = (0.5, 0.8, 0.95, 1.1, 1.4)
_NEVER: Final = 1e9
_FINALISTS: Final = 3
_CAPACITY_GOODPUT: Final = 0.99
_CAPACITY_STEPS: Final = 5


def cells() -> dict[str, Cell]:
    """All cells by key."""
    chosen = [Cell(shape=shape, load=load) for shape in ("poisson", "mmpp", "onoff", "diurnal") for load in LOADS]
    chosen += [Cell(shape=shape, load=load, hop_s=0.0) for shape in ("poisson", "mmpp") for load in LOADS]
    by_key = {cell.key: cell for cell in chosen}
    for shape, loads in (("poisson", CLASS_LOADS), ("mmpp", (0.3, 0.6))):
        for load in loads:
            cell = class_cell(shape, load)
            by_key[f"classes {cell.key}"] = cell
    return by_key


def class_cell(shape: Any, load: float) -> Cell:
    """Three classes on one pool."""
    return Cell(shape=shape, load=load, duration_s=12.0, slo_s=tuple(THREE_CLASSES.items()))


def grid(policy: Policy) -> Iterator[Options]:
    """The configurations that a policy is tuned over."""
    match policy:
        case "single":
            yield from ({"depth": depth} for depth in (1, 2))
        case "triton":
            sizes, delays, timeouts = (16, 24, 32, 48), (0.0, 0.005), (0.02, 0.025, 0.03, _NEVER)
            for size, delay_s, timeout_s, depth in product(sizes, delays, timeouts, (1, 2)):
                yield {"preferred": size, "delay_s": delay_s, "timeout_s": timeout_s, "depth": depth}
        case "aimd":
            yield from ({"share": share, "depth": depth} for share, depth in product((0.5, 0.75, 1.0), (1, 2)))
        case "cork":
            for longest_s, depth in product((0.055, 0.060), (1, 2)):
                yield {"longest_s": longest_s, "depth": depth}
        case "nexus":
            yield from ({"depth": depth} for depth in (1, 2))
        case "symphony":
            for margin_s, depth in product((0.002, 0.004), (1, 2)):
                yield {"margin_s": margin_s, "depth": depth}
        case "levels":
            raise ValueError("levels are tuned by order: use `level_grid`")


def level_grid(order: str) -> list[Options]:
    return [{"order": order, "timeout_share": share} for share in (_NEVER, 0.35, 0.5, 0.7)]


def figures(results: Sequence[Results]) -> dict[str, float]:
    """Means over seeds."""
    found = {
        "goodput": mean_of(result.goodput() for result in results),
        "p50_ms": 1000 * mean_of(result.latency_s(0.5) for result in results),
        "p99_ms": 1000 * mean_of(result.latency_s(0.99) for result in results),
        "mean_size": mean_of(result.mean_size for result in results),
        "utilisation": mean_of(result.utilisation for result in results),
    }
    for name in results[0].traffic.slo_s if len(results[0].traffic.slo_s) > 1 else ():
        found[f"goodput_{name}"] = mean_of(result.goodput(name) for result in results)
    return {name: round(value, 4) for name, value in found.items()}


def best(policy: Policy, options: Sequence[Options], cell: Cell, seeds: Sequence[int]) -> dict[str, Any]:
    """The configuration with the highest goodput, of equals the one with the lowest median latency."""
    first = [(figures([play_baseline(policy, each, cell, seeds[0])]), each) for each in options]
    finalists = sorted(first, key=lambda found: _worth(found[0]))[:_FINALISTS]
    final = [(figures([play_baseline(policy, each, cell, seed) for seed in seeds]), each) for _, each in finalists]
    found, each = min(final, key=lambda pair: _worth(pair[0]))
    return {"options": each, **found}


def _worth(found: dict[str, float]) -> tuple[float, float]:
    return (-round(found["goodput"], 3), found["p50_ms"])


def tune(key: str) -> dict[str, Any]:
    """All policies in one cell."""
    cell = cells()[key]
    if len(cell.slo_s) > 1:
        return {order: best("levels", level_grid(order), cell, SEEDS) for order in ("oldest", "priority", "partition")}
    tuned = {
        policy: best(policy, list(grid(policy)), cell, SEEDS)
        for policy in ("triton", "aimd", "cork", "nexus", "symphony")
    }
    return {
        "single": best("single", list(grid("single")), cell, SEEDS),
        "fixed": best("triton", [FIXED], cell, SEEDS),
        **tuned,
    }


def capacity(policy: Policy, options: Sequence[Options], shape: Any, low: float, high: float) -> dict[str, Any]:
    """The highest load, in requests per second and worker, of which 99 % are good, by bisection."""
    kept: dict[str, Any] = {}
    for _ in range(_CAPACITY_STEPS):
        load = (low + high) / 2
        found = best(policy, options, Cell(shape=shape, load=load), CAPACITY_SEEDS)
        if found["goodput"] >= _CAPACITY_GOODPUT:
            low, kept = load, found
        else:
            high = load
    per_s = low * Cell(shape=shape, load=low).engine.capacity_per_s()
    return {"capacity_per_s": round(per_s, 1), "load": round(low, 4), "options": kept.get("options", {})}


def main(arguments: list[str]) -> int:
    path = Path(arguments[0])
    for key in arguments[1:]:
        known = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
        if key.startswith("capacity "):
            _, policy, low, high = key.split()
            options = [FIXED] if policy == "fixed" else list(grid(policy))  # type: ignore[arg-type]
            known[f"capacity {policy}"] = capacity(
                "triton" if policy == "fixed" else policy,  # type: ignore[arg-type]
                options,
                "poisson",
                float(low),
                float(high),
            )
        else:
            known[key] = tune(key)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
