"""A worker's core with its engine, its slot and its heart, in virtual time."""

import math
from collections.abc import Callable
from typing import Final

from pipeline.engines.simulated.steps import SimulatedSteps
from pipeline.settings import SimulatedDeployment
from pipeline.worker.core import WorkerCore
from pipeline.worker.heartbeats import Condition, Heart
from pipeline.worker.parking import NOTHING
from pipeline.worker.rows import Identity
from pipeline.worker.slot import SlotOwner
from topics.dispatches import Owner

START_S: Final = 1_800_000_000.0
"""Broker time at which runs begin."""


class VirtualWorker:
    """A worker core with its engine, its slot and its heart."""

    def __init__(
        self, number: int, model: str, engine: SimulatedDeployment, new_id: Callable[[], str], deadline_s: float
    ) -> None:
        identity = Identity(worker=f"w{number}", run=f"run{number}", deployment=f"{model}@v1")
        self.core = WorkerCore(identity, new_id=new_id, return_partitions=1, longest_deadline_s=deadline_s)
        self.heart = Heart(identity, engine="simulated")
        self.engine = SimulatedSteps(engine)
        self.slot = SlotOwner(partition=number, run=identity.run, generation=1, base=0)
        self.slot.on_record(Owner(worker=identity.worker, run=identity.run), offset=0, at_ms=int(START_S * 1000))
        self.slot.owned(0)
        self.end = 1
        self.is_stepping = False
        self.told = -1
        self.told_s = -math.inf
        self.wake_at_s = math.inf
        self.parks = True

    def condition(self) -> Condition:
        """As the shell tells it to the heart."""
        return Condition(
            state="ready",
            load=self.engine.load(),
            limits=self.engine.limits,
            waiting=self.core.waiting,
            parkable=self.core.parkable if self.parks else NOTHING,
            slots=[self.slot.heartbeat],
            finished=self.core.take_finished(),
            steps=self.engine.take_steps(),
            timings=self.engine.take_timings(),
        )
