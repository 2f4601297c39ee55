"""Engines that break down: simulated ones with a fault of their own, as tasks and in processes."""

import asyncio
import os
from collections.abc import Callable

from pipeline.engines.protocol import EngineRequest
from pipeline.engines.simulated import SimulatedEngine
from pipeline.engines.simulated.engine import RealClock
from pipeline.settings import Deployment, SimulatedDeployment
from topics.bodies import ChatBody
from topics.errors import EngineDead

POISON = "poison"
"""Prompt of requests that engines die of."""
LETHAL_S = 0.3
"""How long a process outlives its poison: what it has published is in the log by then."""


class StallingClock(RealClock):
    """Time that stops after some steps: what was begun then never ends."""

    def __init__(self, *, steps: int) -> None:
        self._left = steps

    async def sleep_until(self, at_s: float) -> None:
        """As the real clock, while steps are left."""
        self._left -= 1
        if self._left < 0:
            await asyncio.Event().wait()
        await super().sleep_until(at_s)


class Mortal(SimulatedEngine):
    """Dies at the first step with a poisonous request; `takes_process` ends the process with it, as a kernel would."""

    def __init__(self, settings: SimulatedDeployment, *, life: int, takes_process: bool = False) -> None:
        super().__init__(settings, life=life)
        self._takes_process = takes_process
        self._dead = asyncio.Event()

    def submit(self, request: EngineRequest) -> None:
        """Queue a sequence, or die of it."""
        if not isinstance(request.body, ChatBody) or POISON not in str(request.body.messages):
            super().submit(request)
        elif self._takes_process:
            asyncio.get_running_loop().call_later(LETHAL_S, os._exit, 137)
        else:
            self._dead.set()

    async def join(self) -> None:
        """Return when stopped; raises when it has died."""
        await self._dead.wait()
        raise EngineDead("the engine died of a poisonous request")


def stalling(deployment: Deployment) -> Callable[[int], SimulatedEngine]:
    """Engines of which the first one stops in mid-stream."""
    assert isinstance(deployment, SimulatedDeployment)
    return lambda life: (
        SimulatedEngine(deployment, clock=StallingClock(steps=5))
        if life == 0
        else SimulatedEngine(deployment, life=life)
    )


def mortal(deployment: Deployment) -> Callable[[int], SimulatedEngine]:
    """Engines that die of poison."""
    assert isinstance(deployment, SimulatedDeployment)
    return lambda life: Mortal(deployment, life=life)


def deadly(deployment: Deployment) -> Callable[[int], SimulatedEngine]:
    """Engines that die of poison and take their process along."""
    assert isinstance(deployment, SimulatedDeployment)
    return lambda life: Mortal(deployment, life=life, takes_process=True)
