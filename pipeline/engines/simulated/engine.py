"""The cost model as an engine: lets the time of each step pass on a clock and delivers what the step made.

The clock is real or given, so that the same engine serves load tests and simulations.
"""

import asyncio
import contextlib
import time
from typing import Final, Protocol

from pipeline.engines.protocol import Deliver, EngineRequest, Load, Output, StepCounts, Timings
from pipeline.engines.simulated.batches import SimulatedBatches
from pipeline.engines.simulated.model import CostModel
from pipeline.engines.simulated.steps import SimulatedSteps
from pipeline.settings import SimulatedDeployment
from topics.errors import EngineDead
from topics.fleet import EngineMode, Limits


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
    caches_prefixes = False

    def __init__(self, settings: SimulatedDeployment, *, clock: Clock = _REAL, life: int = 0) -> None:
        is_continuous = settings.mode == "continuous"
        self._model: CostModel = (SimulatedSteps if is_continuous else SimulatedBatches)(settings, life=life)
        self._clock = clock
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._undelivered: list[Output] = []

    @property
    def limits(self) -> Limits:
        return self._model.limits

    @property
    def mode(self) -> EngineMode:
        return self._model.mode

    async def start(self, deliver: Deliver) -> None:
        self._task = asyncio.create_task(self._run(deliver), name="simulated engine")

    def submit(self, request: EngineRequest) -> None:
        self._model.submit(request, now_s=self._clock.now_s())
        self._woken.set()

    def abort(self, key: str) -> None:
        self._model.abort(key)
        self._woken.set()

    def load(self) -> Load:
        return self._model.load()

    def take_steps(self) -> StepCounts:
        return self._model.take_steps()

    def take_timings(self) -> Timings:
        return self._model.take_timings()

    def charged(self) -> dict[str, int]:
        ended = {output.key: output.gpu_ns for output in self._undelivered if output.is_last}
        return {**self._model.charged(), **ended}

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
        while not self._model.has_crashed():
            step = self._model.next_step(self._clock.now_s())
            if step is None:
                await self._wait()
                free_at_s = self._clock.now_s()
                continue
            # Steps follow on each other without the timer's lag, so that the rate is the model's.
            free_at_s += step.cost_ns / 1e9
            self._undelivered = step.outputs
            await self._clock.sleep_until(free_at_s)
            if self._model.has_crashed():
                break
            self._undelivered = []
            deliver(self._model.finish(step))
        raise EngineDead("the simulated engine was told to crash")

    async def _wait(self) -> None:
        """Until something comes or is aborted, or until something may begin without."""
        self._woken.clear()
        wake_at_s = self._model.wake_at_s()
        if wake_at_s is None:
            await self._woken.wait()
            return
        woken = asyncio.ensure_future(self._woken.wait())
        slept = asyncio.ensure_future(self._clock.sleep_until(wake_at_s))
        try:
            await asyncio.wait((woken, slept), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            slept.cancel()
