"""What a caller holds of one request: its deltas as they come, its result, and the way to end it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import ClassVar, Self

from pipeline.client.answer import Answer, Cursor, Delta, Result
from pipeline.client.ask import Ask
from pipeline.client.connection import Connection
from topics.errors import TransportError


class Reading(ABC):
    """An answer as its reader sees it: deltas as they come, any number of times, and the result at the end.

    Subclasses say how the answer gets here and what it means to leave. Not thread-safe: all calls on the client's event
    loop.

    Attributes:
        id: the request's id.
    """

    def __init__(self, answer: Answer) -> None:
        self.id = answer.id
        self._answer = answer
        self._news = asyncio.Event()
        answer.on_change = self._news.set

    @property
    def origin(self) -> str | None:
        """Address of the request, `topic/partition/offset`; None until it is known."""
        return self._answer.origin

    @abstractmethod
    async def open(self) -> Self:
        """Begin, if that was not done yet, and wait until the request's address is known."""

    @abstractmethod
    def leave(self) -> None:
        """Stop reading, without waiting. Idempotent."""

    async def aclose(self) -> None:
        """Stop reading. Idempotent."""
        self.leave()

    async def __aiter__(self) -> AsyncGenerator[Delta, None]:
        """The deltas from the first on, as soon as they arrive.

        Raises:
            PipelineError: at the end, if the answer did not complete; the class says why.
        """
        cursor = Cursor()
        try:
            while deltas := await self.read(cursor):
                for delta in deltas:
                    yield delta
        finally:
            self.leave()

    async def read(self, cursor: Cursor) -> list[Delta]:
        """All deltas after `cursor` that are there, at least one; none at the end. Moves the cursor behind them.

        Raises:
            PipelineError: at the end, if the answer did not complete.
        """
        await self.open()
        while True:
            deltas = self._unread(cursor)
            if deltas:
                return deltas
            if self._answer.is_over:
                self._answer.result()
                return []
            await self._wait()

    async def result(self) -> Result:
        """The whole answer, at its end. May be called before, after or instead of iterating.

        Raises:
            PipelineError: it did not complete; the class says why.
        """
        await self.open()
        while not self._answer.is_over:
            await self._wait()
        return self._answer.result()

    async def __aenter__(self) -> Self:
        """As `open`."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `aclose`."""
        await self.aclose()

    def _unread(self, cursor: Cursor) -> list[Delta]:
        return self._answer.unread(cursor)

    async def _wait(self) -> None:
        """Until something about the answer has changed."""
        self._news.clear()
        await self._news.wait()


class Stream(Reading):
    """One request and its answer.

    The request is sent when the stream is first iterated, opened, entered as a context or asked for its result, once.
    Leaving the iteration or the context before the end, and `aclose`, cancel the request. Iterating again begins at the
    first delta again.

    Attributes:
        id: the request's id, given or random.
    """

    _outlives_reader: ClassVar[bool] = False

    def __init__(self, connection: Connection, ask: Ask) -> None:
        cancellation = None if self._outlives_reader else ask.cancellation
        super().__init__(Answer(request_id=ask.id, limits=ask.limits, cancellation=cancellation))
        self._connection = connection
        self._ask = ask
        self._sending: asyncio.Task[None] | None = None
        self._cancelling: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Send the request, if that was not done yet, and wait until the broker has it.

        Raises:
            RequestError: the request can never be accepted, or no lane serves its model and class.
            TransportError: the broker did not acknowledge it in time.
        """
        if self._answer.origin is None:
            if self._sending is None:
                self._sending = self._connection.send(self._ask, self._answer)
            await self._connection.acknowledged(self._sending, self._answer)
        return self

    async def aclose(self) -> None:
        """Stop reading. A request that has not ended is cancelled; returns once the broker knows. Idempotent."""
        self.leave()
        if self._cancelling is not None:
            await asyncio.shield(self._cancelling)

    def leave(self) -> None:
        """Stop reading, without waiting: a request that has not ended will be cancelled. Idempotent."""
        if self._sending is not None and not self._outlives_reader:
            why = TransportError(f"request {self.id} was cancelled: its reader left before the end")
            self._cancelling = self._connection.give_up(self._answer, why) or self._cancelling


class Handle(Stream):
    """A request that goes on when nobody reads its answer: leaving the iteration or the context does not end it.

    `Client.cancel` does.
    """

    _outlives_reader = True
