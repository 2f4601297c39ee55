"""The cost model as an engine: lets the time of each step pass on a clock and delivers what the step made.

The clock is real or given, so that the same engine serves load tests and simulations.
"""

import asyncio
import contextlib
import time
from typing import Final, Protocol

from pipeline.engines.protocol import Deliver, EngineRequest, Load, StepCounts
from pipeline.engines.simulated.steps import SimulatedSteps
from pipeline.settings import SimulatedDeployment
from topics.errors import EngineDead
from topics.fleet import Limits


class Clock(Protocol):
    """Time as the engine sees it, in seconds from any beginning."""

    def now_s(self) -> float: ...

    async def sleep_until(self, at_s: float) -> None:
        """Return at `at_s`, after at least one turn of the event loop."""
        ...


class RealClock:
    """The monotonic clock of this machine."""

    def now_s(self) -> float:
        return time.monotonic()

    async def sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(at_s - time.monotonic(), 0))


_REAL: Final = RealClock()


class SimulatedEngine:
    """One simulated replica; `pipeline.engines.protocol.Engine`.

    Args:
        settings: costs, limits and faults.
        clock: real time unless another is given.
        life: how often it was started before; moves the drawn faults on.
    """

    gpus = 1

    def __init__(self, settings: SimulatedDeployment, *, clock: Clock = _REAL, life: int = 0) -> None:
        self._steps = SimulatedSteps(settings, life=life)
        self._clock = clock
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def limits(self) -> Limits:
        return self._steps.limits

    async def start(self, deliver: Deliver) -> None:
        self._task = asyncio.create_task(self._run(deliver), name="simulated engine")

    def submit(self, request: EngineRequest) -> None:
        self._steps.submit(request)
        self._woken.set()

    def abort(self, key: str) -> None:
        self._steps.abort(key)
        self._woken.set()

    def load(self) -> Load:
        return self._steps.load()

    def take_steps(self) -> StepCounts:
        return self._steps.take_steps()

    async def join(self) -> None:
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._task)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, deliver: Deliver) -> None:
        free_at_s = self._clock.now_s()
        while not self._steps.has_crashed():
            if not self._steps.has_work:
                self._woken.clear()
                await self._woken.wait()
                free_at_s = self._clock.now_s()
                continue
            step = self._steps.step()
            # Steps follow on each other without the timer's lag, so that the rate is the model's.
            free_at_s += step.cost_ns / 1e9
            await self._clock.sleep_until(free_at_s)
            if self._steps.has_crashed():
                break
            deliver(step.outputs)
        raise EngineDead("the simulated engine was told to crash")
