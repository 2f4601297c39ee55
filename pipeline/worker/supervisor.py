"""Keeping an engine alive: start it, notice its death, start another one, a bounded number of times.

An engine that has sequences and makes no step for a limit is as good as dead: it is killed and counts as that.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from pipeline.engines.protocol import Deliver, Engine, Output
from pipeline.worker.watchdogs import StepWatch
from topics.errors import EngineDead

logger = logging.getLogger(__name__)

MAX_DEATHS: Final = 5
WITHIN_S: Final = 600.0
"""More than `MAX_DEATHS` in so long: the process ends and whoever supervises it decides."""
BACKOFF_S: Final = (0.1, 1.0, 5.0, 15.0, 30.0)
STOP_S: Final = 30.0
"""An engine that does not let go in so long takes the process with it: its children end with their parent."""
LOOKS: Final = 20
"""How often an engine is looked at within its step limit."""
LONGEST_LOOK_S: Final = 1.0


class EngineSupervisor:
    """One engine after the other.

    Args:
        make: a new engine, given how many there were before.
        deliver: what engines call with outputs.
        on_ready: called when an engine takes sequences.
        on_dead: called when it does not any more.
        now_s: a monotonic clock.
        step_limit_s: how long a step may last, in seconds.
    """

    def __init__(
        self,
        make: Callable[[int], Engine],
        *,
        deliver: Deliver,
        on_ready: Callable[[], None],
        on_dead: Callable[[], None],
        now_s: Callable[[], float],
        step_limit_s: float,
    ) -> None:
        self._make = make
        self._outputs = deliver
        self._on_ready = on_ready
        self._on_dead = on_dead
        self._now_s = now_s
        self._step_limit_s = step_limit_s
        self._steps = 0
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS + 1)
        self.engine: Engine | None = None
        """The one that takes sequences, if there is one."""

    def on_steps(self, count: int) -> None:
        """The engine has made so many steps more, whether they brought outputs or not."""
        self._steps += count

    async def run(self) -> None:
        """Keep one engine running until cancelled.

        Raises:
            EngineDead: too many died in too short a time.
        """
        life = 0
        while True:
            engine = self._make(life)
            try:
                await engine.start(self._deliver)
                self.engine = engine
                self._on_ready()
                await self._live(engine)
                return
            except EngineDead as error:
                await self._bury(engine, error)
            finally:
                if self.engine is not None:
                    self.engine = None
                    await engine.stop()
            life += 1
            await asyncio.sleep(BACKOFF_S[min(len(self._deaths), len(BACKOFF_S)) - 1])

    def _deliver(self, outputs: list[Output]) -> None:
        self._steps += 1
        self._outputs(outputs)

    async def _live(self, engine: Engine) -> None:
        """Return when the engine was stopped.

        Raises:
            EngineDead: it died, or makes no step.
        """
        joined = asyncio.ensure_future(engine.join())
        watched = asyncio.ensure_future(self._watch(engine))
        try:
            done, _ = await asyncio.wait((joined, watched), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            joined.cancel()
            watched.cancel()
            await asyncio.gather(joined, watched, return_exceptions=True)

    async def _watch(self, engine: Engine) -> None:
        watch = StepWatch(self._step_limit_s, now_s=self._now_s())
        while True:
            await asyncio.sleep(min(self._step_limit_s / LOOKS, LONGEST_LOOK_S))
            load = engine.load()
            sequences = load.running + load.waiting
            if watch.is_stuck(steps=self._steps, sequences=sequences, now_s=self._now_s()):
                raise EngineDead(
                    f"no step for {self._step_limit_s:g} s while it has {sequences} sequences; "
                    "if its steps may take that long, raise step_limit_s of the deployment"
                )

    async def _bury(self, engine: Engine, error: EngineDead) -> None:
        logger.warning("engine died: %s", error.message)
        if self.engine is not None:
            self._on_dead()  # while the engine can still be asked what it has charged
            self.engine = None
        try:
            async with asyncio.timeout(STOP_S):
                await engine.stop()
        except TimeoutError:
            raise EngineDead(f"the engine did not let go within {STOP_S:g} s after: {error.message}") from None
        now_s = self._now_s()
        self._deaths.append(now_s)
        if len(self._deaths) > MAX_DEATHS and now_s - self._deaths[0] < WITHIN_S:
            raise EngineDead(f"{len(self._deaths)} engines died within {WITHIN_S:g} s; the last one: {error.message}")
