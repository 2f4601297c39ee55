"""Cells of the run-to-completion simulation: one traffic, one engine, one player."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from pipeline.simulation.arrivals import SHAPES, Shape
from pipeline.simulation.rtc.baselines.classes import Levels
from pipeline.simulation.rtc.baselines.single import Aimd, Cork, Nexus, Single, Symphony, Triton
from pipeline.simulation.rtc.direct import ControllerPlayer, Make
from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.product import SchedulerPlayer
from pipeline.simulation.rtc.world import Results, Silence, Traffic, World
from processors.batching.run_to_completion import RunToCompletion

Policy = Literal["single", "triton", "aimd", "cork", "nexus", "symphony", "levels"]
Options = dict[str, Any]

SEEDS: Final = (101, 102, 103)
CAPACITY_SEEDS: Final = (201, 202, 203)
ONE_CLASS: Final = {"realtime": 0.060}
THREE_CLASSES: Final = {"realtime": 0.060, "interactive": 0.200, "standard": 2.0}
MIX: Final = (0.2, 0.3, 0.5)
DEFAULT_ENGINE: Final = Engine()

_POLICIES: Final[dict[str, Callable[..., Any]]] = {
    "single": Single,
    "triton": Triton,
    "aimd": Aimd,
    "cork": Cork,
    "nexus": Nexus,
    "symphony": Symphony,
    "levels": Levels,
}
_PROFILED: Final = ("nexus", "symphony")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is simulated. `load` is relative to all workers at their largest batch, whatever its latency.

    Attributes:
        tokens_median: of requests whose length matters: a lognormal with sigma 0.9, at most `tokens_most`.
    """

    shape: Shape
    load: float
    hop_s: float = 0.002
    duration_s: float = 12.0
    workers: int = 4
    engine: Engine = DEFAULT_ENGINE
    slo_s: tuple[tuple[str, float], ...] = tuple(ONE_CLASS.items())
    rate_per_s: float | None = None

    @property
    def key(self) -> str:
        return f"{self.shape} {self.load:g} hop {1000 * self.hop_s:g} ms"


def mean_of(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def traffic_of(cell: Cell, seed: int) -> Traffic:
    """Arrivals of a seed; several classes are drawn with the shares of `MIX`."""
    rng = np.random.default_rng(seed)
    rate_per_s = cell.rate_per_s or cell.load * cell.workers * cell.engine.capacity_per_s()
    arrivals = SHAPES[cell.shape](rng, rate_per_s, cell.duration_s)
    names = [name for name, _ in cell.slo_s]
    drawn = rng.choice(len(names), size=len(arrivals), p=MIX) if len(names) > 1 else [0] * len(arrivals)
    return Traffic(
        arrivals_s=arrivals.tolist(),
        classes=[names[index] for index in drawn],
        tokens=[0] * len(arrivals),
        slo_s=dict(cell.slo_s),
        duration_s=cell.duration_s,
    )


def play_baseline(policy: Policy, options: Options, cell: Cell, seed: int, traffic: Traffic | None = None) -> Results:
    """A baseline, driven without the scheduler around it."""
    engine = replace(cell.engine, drift_factor=1.0)
    given = {**options, "engine": engine} if policy in _PROFILED else options

    def make(*parts: Any) -> Any:
        return _POLICIES[policy](*parts, **given)

    return play_controller(make, cell, seed, traffic, beats=False)


def play_controller(
    make: Make, cell: Cell, seed: int, traffic: Traffic | None = None, *, beats: bool = True, knows_tokens: bool = True
) -> Results:
    """Any controller, driven without the scheduler around it."""
    traffic = traffic or traffic_of(cell, seed)
    player = ControllerPlayer(
        make, traffic, cell.engine, workers=cell.workers, hop_s=cell.hop_s, knows_tokens=knows_tokens
    )
    world = World(cell.engine, workers=cell.workers, hop_s=cell.hop_s, seed=seed, beats=beats)
    return world.run(player, traffic)


def play_core(cell: Cell, seed: int) -> Results:
    """The product's controller without the scheduler around it."""
    return play_controller(RunToCompletion, cell, seed)


def play_product(
    cell: Cell,
    seed: int,
    traffic: Traffic | None = None,
    *,
    knows_tokens: bool = True,
    learns: bool = True,
    silence: Silence | None = None,
    shards: int = 1,
) -> Results:
    """The product's scheduler, or as many of them as there are shards."""
    traffic = traffic or traffic_of(cell, seed)
    player = SchedulerPlayer(
        traffic,
        cell.engine,
        workers=cell.workers,
        hop_s=cell.hop_s,
        shards=shards,
        knows_tokens=knows_tokens,
        learns=learns,
    )
    world = World(cell.engine, workers=cell.workers, hop_s=cell.hop_s, seed=seed, silence=silence)
    return world.run(player, traffic)
