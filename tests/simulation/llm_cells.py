"""Cells of the continuous-batching simulation: traffic, a way of feeding four replicas, and the figures of one seed.

Every cell lasts 75 s and drains for up to 60 s. Baselines have the parameters that are best in the cell over all seeds.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from pipeline.simulation.arrivals import Shape
from pipeline.simulation.llm.baselines import (
    AimdConcurrency,
    Clumps,
    LeastOutstanding,
    SaturationGate,
    StaticCap,
    factory,
)
from pipeline.simulation.llm.measure import STEADY, Figures, figures, play
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import requests
from processors.batching.modes import ControllerFactory

SEEDS: Final = (101, 102, 103)
CAPACITY_SEEDS: Final = (201, 202, 203)
DURATION_S: Final = 75.0
FROZEN: Final = Path(__file__).with_name("llm_baselines.json")

Baseline = Literal[
    "least_outstanding", "clumps", "aimd", "gate", "gate_ttl", "static_cap", "single", "run_to_completion"
]


class Cell(Struct, frozen=True):
    """Traffic of a shape and a mean rate per second."""

    shape: Shape
    rate: float

    @property
    def key(self) -> str:
        return f"{self.shape}/{self.rate:g}"


CAPS: Final[dict[str, tuple[int, float]]] = {
    "poisson/60": (224, 0.6),
    "poisson/90": (224, 0.6),
    "poisson/110": (224, 0.6),
    "poisson/130": (224, 0.5),
    "poisson/160": (224, 0.4),
    "mmpp/90": (144, 0.8),
    "mmpp/110": (144, 0.8),
    "mmpp/130": (160, 0.7),
    "mmpp/160": (192, 0.6),
}
"""Limit per worker, and the share of the target after which a request that waits is dropped: best of a grid of 90."""


def maker(baseline: Baseline, cell: Cell) -> ControllerFactory:
    """A baseline as it is best in a cell."""
    match baseline:
        case "least_outstanding":
            return factory(LeastOutstanding)
        case "clumps":
            return factory(lambda q, f, p: Clumps(q, f, p, size=16, wait_s=0.05))
        case "run_to_completion":
            return factory(lambda q, f, p: Clumps(q, f, p, size=32, wait_s=0.05, completes=True))
        case "single":
            return factory(lambda q, f, p: StaticCap(q, f, p, limit=1))
        case "aimd":
            return factory(AimdConcurrency)
        case "gate":
            return factory(SaturationGate)
        case "gate_ttl":
            return factory(lambda q, f, p: SaturationGate(q, f, p, ttl_share=0.9))
        case "static_cap":
            limit, share = CAPS[cell.key]
            return factory(lambda q, f, p: StaticCap(q, f, p, limit=limit, ttl_share=share))


def baseline_figures(baseline: Baseline, cell: Cell, seed: int) -> Figures:
    """A baseline plays a cell."""
    traffic = requests(cell.shape, cell.rate, DURATION_S, seed)
    play(traffic, duration_s=DURATION_S, seed=seed, controllers=maker(baseline, cell))
    return figures(traffic, duration_s=DURATION_S)


@cache
def ours(
    cell: Cell,
    seed: int,
    *,
    duration_s: float = DURATION_S,
    engine: EngineSpec = STEADY,
    silence: tuple[float, float] | None = None,
) -> Figures:
    """The product plays a cell."""
    traffic = requests(cell.shape, cell.rate, duration_s, seed)
    play(traffic, duration_s=duration_s, seed=seed, engine=engine, silence=silence)
    return figures(traffic, duration_s=duration_s)


@cache
def frozen() -> dict[str, Any]:
    """Figures of the baselines: `cells` by baseline, cell and seed; `capacity` by baseline and shape, in requests/s."""
    return dict(msgspec.json.decode(FROZEN.read_bytes()))


def frozen_figures(baseline: Baseline, cell: Cell, seed: int) -> Figures:
    """What a baseline reached in a cell when it was frozen."""
    return msgspec.convert(frozen()["cells"][baseline][cell.key][str(seed)], Figures)
