"""Handles shared among requests: lent one request at a time, killed when their request is gone, kept for sessions.

Runs on one event loop; the engine's work runs in threads. What a handle does is in `handles`, which sessions there are
in `sessions`.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.handles import Handle
from sinks.clickhouse.http.limits import Limits, Rights
from sinks.clickhouse.http.sessions import SessionKey, Sessions

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

TOO_MANY_SIMULTANEOUS_QUERIES = 202
MAX_IDLE_SESSIONS = 256
KILL_AGAIN_S = 0.2
"""A kill that comes before its statement has begun does nothing; so it is repeated while the statement runs."""


@dataclass(slots=True, eq=False)
class Lease:
    """One request's exclusive use of one handle, until `release`."""

    handle: Handle
    rights: Rights
    executor: ThreadPoolExecutor
    give_back: Callable[["Lease", bool], None]
    running: "asyncio.Future[object] | None" = field(default=None, init=False)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work of this handle in a thread. If the caller is cancelled the work goes on: see `release`."""
        future = asyncio.get_running_loop().run_in_executor(self.executor, lambda: work(*args, **kwargs))
        self.running = future  # type: ignore[assignment]  # only its end is of interest
        return await asyncio.shield(future)

    def release(self, *, kill: bool) -> None:
        """Give the handle back, at once or when its thread has come back from the engine.

        Args:
            kill: whether what still runs may be killed: reads may, writes run to their end.
        """
        self.give_back(self, kill)


class HandlePool:
    """At most `size` requests at once on handles that may write, and `size` on handles that may not, sessions included.

    Args:
        path: the engine's directory.
        limits: of the statements.
        size: requests of each sort, at least 1.
        wait_s: how long a request waits for its turn before it is refused, in seconds.
        kill: ends the statement that runs on the handle of a mark, if one does.
    """

    def __init__(
        self, *, path: str, limits: Limits, size: int, wait_s: float, kill: Callable[[str], Awaitable[None]]
    ) -> None:
        self._path = path
        self._limits = limits
        self._wait_s = wait_s
        self._kill = kill
        self._numbers = itertools.count(1)
        self._free: dict[Rights, list[Handle]] = {rights: [] for rights in Rights}
        self._turns = {False: asyncio.Semaphore(size), True: asyncio.Semaphore(size)}
        self._lent = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._sessions: Sessions[Handle] = Sessions(MAX_IDLE_SESSIONS)
        self._settling: set[asyncio.Task[None]] = set()
        self._executor = ThreadPoolExecutor(2 * size + 1, thread_name_prefix="clickhouse-http")

    async def lease(self, rights: Rights) -> Lease:
        """Borrow a handle without history.

        Raises:
            StatementError: no turn came in time.
        """
        await self._take_turn(rights)
        free = self._free[rights]
        try:
            handle = free.pop() if free else await self._opened(rights, keeps_state=False)
        except BaseException:
            self._end_turn(rights)
            raise
        return Lease(handle, rights, self._executor, self._settle(lambda: free.append(handle)))

    async def lease_session(self, key: SessionKey, *, timeout_s: float) -> Lease:
        """Borrow the handle of a session, which is opened if there is none.

        Raises:
            StatementError: another request of the same session is running, or no turn came in time.
        """
        await self._take_turn(key.rights)
        try:
            now_s = asyncio.get_running_loop().time()
            await self._close_all(self._sessions.overdue(now_s))
            session = self._sessions.borrow(key, now_s=now_s, timeout_s=timeout_s)
            try:
                handle = session.handle or await self._opened(key.rights, keeps_state=True)
            except BaseException:
                self._sessions.drop(key)
                raise
        except BaseException:
            self._end_turn(key.rights)
            raise
        session.handle = handle

        def unlock() -> None:
            session.is_lent = False

        return Lease(handle, key.rights, self._executor, self._settle(unlock))

    async def until_quiet(self, within_s: float) -> bool:
        """Wait until no handle is lent, so many seconds at most. Returns whether it came to that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._quiet.wait()
        return self._quiet.is_set()

    async def close(self) -> None:
        """Wait for what still runs on given-back handles, then close every handle."""
        if self._settling:
            await asyncio.wait(self._settling)
        await self._close_all([*itertools.chain(*self._free.values()), *self._sessions.handles()])
        self._executor.shutdown(wait=True)

    async def _take_turn(self, rights: Rights) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turns[rights.is_readonly].acquire()
        except TimeoutError:
            raise StatementError(
                f"No connection of the pool became free within {self._wait_s:g} s; retry, or serve with a larger pool",
                engine_code=TOO_MANY_SIMULTANEOUS_QUERIES,
                name="TOO_MANY_SIMULTANEOUS_QUERIES",
            ) from None
        self._lent += 1
        self._quiet.clear()

    def _end_turn(self, rights: Rights) -> None:
        self._turns[rights.is_readonly].release()
        self._lent -= 1
        if not self._lent:
            self._quiet.set()

    async def _opened(self, rights: Rights, *, keeps_state: bool) -> Handle:
        mark = f"http-{next(self._numbers)};"
        opening = self._limits.opening(rights)
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: Handle(self._path, mark=mark, opening=opening, keeps_state=keeps_state)
        )

    async def _close_all(self, handles: list[Handle]) -> None:
        for handle in handles:
            await asyncio.get_running_loop().run_in_executor(self._executor, handle.close)

    def _settle(self, put_back: Callable[[], None]) -> Callable[[Lease, bool], None]:
        def settle(lease: Lease, kill: bool) -> None:
            def finish() -> None:
                put_back()
                self._end_turn(lease.rights)

            is_idle = lease.running is None or lease.running.done()
            if is_idle and not lease.handle.is_open:
                finish()
                return
            task = asyncio.get_running_loop().create_task(self._outlive(lease, kill))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
            task.add_done_callback(lambda _: finish())

        return settle

    async def _outlive(self, lease: Lease, kill: bool) -> None:
        """The request is gone and left something open: kill it if allowed, wait for its thread, and clear up."""
        running = lease.running
        while running is not None and not running.done():
            if kill:
                await self._kill(lease.handle.mark)
            await asyncio.wait({running}, timeout=KILL_AGAIN_S if kill else None)
        if running is not None and (error := running.exception()) is not None:
            logger.debug("statement of a client that left ended with %s", type(error).__name__)
        await asyncio.get_running_loop().run_in_executor(self._executor, lease.handle.abort)
