"""What is going to happen to whom, drawn by a seed. Pure: nothing is broken here."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Ways to disturb a pipeline. The value is what `--faults` calls it."""

    WORKER_KILL = "workers"
    PROCESSOR_KILL = "processors"
    RECORDER_KILL = "recorders"
    WORKER_ZOMBIE = "worker_zombies"
    PROCESSOR_ZOMBIE = "processor_zombies"
    BROKER_RESTART = "brokers"
    DRAIN = "drains"


FULL: Final = {
    Fault.WORKER_KILL: 60,
    Fault.PROCESSOR_KILL: 40,
    Fault.RECORDER_KILL: 20,
    Fault.WORKER_ZOMBIE: 20,
    Fault.PROCESSOR_ZOMBIE: 20,
    Fault.BROKER_RESTART: 5,
    Fault.DRAIN: 20,
}
"""The whole bench."""
ENDED_OR_FROZEN: Final = frozenset((Fault.WORKER_KILL, Fault.WORKER_ZOMBIE, Fault.DRAIN))
"""Faults of workers: streams move to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One fault, and when: `pause_s` after the blow before it began.

    `lasts_s` is how long something stays dead or frozen beyond the session's time-out (frozen) or before it is started
    again (dead). `is_hard` is `kill -9` where an orderly end would do.
    """

    fault: Fault
    pause_s: float
    lasts_s: float
    is_hard: bool


def draw(counts: dict[Fault, int], *, seed: int, minutes: float) -> list[Blow]:
    """The blows in their order, which take about `minutes`."""
    rng = random.Random(seed)
    faults = [fault for fault in Fault for _ in range(counts.get(fault, 0))]
    rng.shuffle(faults)
    mean_s = 60 * minutes / max(len(faults), 1)
    return [
        Blow(
            fault=fault,
            pause_s=rng.uniform(0.1, 1.9) * mean_s,
            lasts_s=rng.uniform(0.1, 2.0),
            is_hard=rng.random() < 0.5,
        )
        for fault in faults
    ]


def counts_of(text: str) -> dict[Fault, int]:
    """Read `workers=60,drains=5`; what is not named does not happen.

    Raises:
        ValueError: an unknown fault, or no number.
    """
    counts = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.partition("=")
        counts[Fault(name)] = int(number)
    return counts
