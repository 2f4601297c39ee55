"""The synchronous client: the asynchronous one on an event loop in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from pipeline.client.answer import Cursor, Delta, Result
from pipeline.client.client import Client
from pipeline.client.stream import Handle, Reading
from topics.errors import TransportError
from topics.requests import ReplyTo

T = TypeVar("T")


class SyncClient:
    """`Client` without asyncio: the same arguments, methods and errors. Use as a context; thread-safe.

    Args:
        options: those of `Client`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loop: _LoopThread | None = None
        self._client: Client | None = None

    @property
    def reply(self) -> ReplyTo:
        """The response partition that this client reads."""
        return self._opened()[1].reply

    @property
    def waiting(self) -> int:
        """Requests that the broker has and that have not ended."""
        return self._opened()[1].waiting

    def open(self) -> Self:
        """As `Client.open`."""
        loop = _LoopThread()
        try:
            client = loop.call(_opened(self._options))
        except BaseException:
            loop.stop()
            raise
        self._loop, self._client = loop, client
        return self

    def close(self) -> None:
        """As `Client.close`. Idempotent."""
        loop, client = self._loop, self._client
        self._loop = self._client = None
        if loop is None or client is None:
            return
        try:
            loop.call(client.close())
        finally:
            loop.stop()

    def __enter__(self) -> Self:
        """As `open`."""
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `close`."""
        self.close()

    def stream(self, **request: Any) -> "SyncStream":
        """As `Client.stream`."""
        loop, client = self._opened()
        return SyncStream(loop, client.stream(**request))

    def complete(self, **request: Any) -> Result:
        """As `Client.complete`."""
        loop, client = self._opened()
        return loop.call(client.complete(**request))

    def submit(self, **request: Any) -> "SyncHandle":
        """As `Client.submit`."""
        loop, client = self._opened()
        handle: Handle = loop.call(client.submit(**request))
        return SyncHandle(loop, handle)

    def resume(self, id: str, **which: Any) -> "SyncResumed":
        """As `Client.resume`."""
        loop, client = self._opened()
        return SyncResumed(loop, client.resume(id, **which))

    def cancel(self, id: str, *, model: str) -> None:
        """As `Client.cancel`."""
        loop, client = self._opened()
        loop.call(client.cancel(id, model=model))

    def feedback(self, id: str, **judgement: Any) -> None:
        """As `Client.feedback`."""
        loop, client = self._opened()
        loop.call(client.feedback(id, **judgement))

    def _opened(self) -> "tuple[_LoopThread, Client]":
        if self._loop is None or self._client is None:
            raise TransportError("the client is not open; use it as a context or call open() first")
        return self._loop, self._client


class SyncStream:
    """`Stream` without asyncio: leaving the iteration or the context early, and `close`, cancel the request."""

    def __init__(self, loop: "_LoopThread", stream: Reading) -> None:
        self._loop = loop
        self._stream = stream

    @property
    def id(self) -> str:
        """The request's id, given or random."""
        return self._stream.id

    @property
    def origin(self) -> str | None:
        """Address of the request; None until the broker has acknowledged it."""
        return self._stream.origin

    def __iter__(self) -> Iterator[Delta]:
        """As `Stream.__aiter__`."""
        cursor = Cursor()
        try:
            while deltas := self._loop.call(self._stream.read(cursor)):
                yield from deltas
        finally:
            self._loop.soon(self._stream.leave)  # without waiting: the garbage collector may run this, in any thread

    def result(self) -> Result:
        """As `Stream.result`."""
        return self._loop.call(self._stream.result())

    def close(self) -> None:
        """As `Stream.aclose`. Idempotent."""
        self._loop.call(self._stream.aclose())

    def __enter__(self) -> Self:
        """As `Stream.open`."""
        self._loop.call(self._stream.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `close`."""
        self.close()


class SyncHandle(SyncStream):
    """`Handle` without asyncio: the request goes on when nobody reads its answer."""


class SyncResumed(SyncStream):
    """`Resumed` without asyncio: leaving ends the reading and leaves the request alone."""


class _LoopThread:
    """An event loop that runs in a daemon thread until it is stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="millrace-client", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it here. An exception here, such as Ctrl-C, cancels it there."""
        if self._loop.is_closed():
            work.close()
            raise TransportError("the client was closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def soon(self, action: Callable[[], None]) -> None:
        """Have something done there, if the loop still runs."""
        with contextlib.suppress(RuntimeError):  # it is closed, and its client with it
            self._loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


async def _opened(options: dict[str, Any]) -> Client:
    return await Client(**options).open()
