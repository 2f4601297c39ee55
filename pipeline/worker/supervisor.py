"""Keeping an engine alive: start it, notice its death, start another one, a bounded number of times."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from pipeline.engines.protocol import Deliver, Engine
from topics.errors import EngineDead

logger = logging.getLogger(__name__)

MAX_DEATHS: Final = 5
WITHIN_S: Final = 600.0
"""More than `MAX_DEATHS` in so long: the process ends and whoever supervises it decides."""
BACKOFF_S: Final = (0.1, 1.0, 5.0, 15.0, 30.0)


class EngineSupervisor:
    """One engine after the other.

    Args:
        make: a new engine, given how many there were before.
        deliver: what engines call with outputs.
        on_ready: called when an engine takes sequences.
        on_dead: called when it does not any more.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        make: Callable[[int], Engine],
        *,
        deliver: Deliver,
        on_ready: Callable[[], None],
        on_dead: Callable[[], None],
        now_s: Callable[[], float],
    ) -> None:
        self._make = make
        self._deliver = deliver
        self._on_ready = on_ready
        self._on_dead = on_dead
        self._now_s = now_s
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS + 1)
        self.engine: Engine | None = None
        """The one that takes sequences, if there is one."""

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
                await engine.join()
                return
            except EngineDead as error:
                await self._bury(engine, error)
            finally:
                if self.engine is not None:
                    self.engine = None
                    await engine.stop()
            life += 1
            await asyncio.sleep(BACKOFF_S[min(len(self._deaths), len(BACKOFF_S)) - 1])

    async def _bury(self, engine: Engine, error: EngineDead) -> None:
        logger.warning("engine died: %s", error.message)
        if self.engine is not None:
            self._on_dead()  # while the engine can still be asked what it has charged
            self.engine = None
        await engine.stop()
        now_s = self._now_s()
        self._deaths.append(now_s)
        if len(self._deaths) > MAX_DEATHS and now_s - self._deaths[0] < WITHIN_S:
            raise EngineDead(f"{len(self._deaths)} engines died within {WITHIN_S:g} s; the last one: {error.message}")
