"""Settling inputs: only when the broker has their outputs and the trace of what was decided about them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from processors.events import Address
from topics.trace_rows import Row


class TraceShipper(Protocol):
    """Where trace rows go."""

    @property
    def mark(self) -> int:
        """Mark of the newest row."""
        ...

    def add(self, row: Row) -> int:
        """Keep a row for shipping and return its mark."""
        ...

    async def wait_delivered(self, mark: int) -> None:
        """Return when the broker has acknowledged all rows up to `mark`."""
        ...


class Settlement:
    """Holds delivered inputs back until their trace is delivered, too.

    Args:
        shipper: its marks say how far the trace is.
        settle: called with each input that is safe, in the order in which they were delivered.
    """

    def __init__(self, shipper: TraceShipper, settle: Callable[[Address], None]) -> None:
        self._shipper = shipper
        self._settle = settle
        self._delivered: deque[Address] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def on_delivered(self, at: Address) -> None:
        """The broker has the outputs of an input. Its rows were added before its outputs were sent."""
        self._delivered.append(at)
        self._idle.clear()
        self._changed.set()

    async def start(self) -> None:
        """Settle in the background from now on."""
        self._task = asyncio.create_task(self._run(), name="settlement")

    async def join(self) -> None:
        """Wait until settling cannot go on; it never ends by itself.

        Raises:
            Exception: what ended it.
        """
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def flush(self) -> None:
        """Return when everything that was delivered is settled."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Settle nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            ready = len(self._delivered)
            await self._shipper.wait_delivered(self._shipper.mark)
            for _ in range(ready):
                self._settle(self._delivered.popleft())
            if not self._delivered:
                self._idle.set()
            else:
                self._changed.set()
