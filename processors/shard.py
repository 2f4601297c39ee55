"""One shard while it is owned: events to its scheduler, effects to the executor, a timer, what waits until it begins.

A record that its former owner has dispatched or answered (`recovery`) is settled and goes no further.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

from processors.effects import Effect
from processors.events import Address, Arrival, Handback
from processors.execution import Executor
from processors.recovery.legacy import Legacy
from processors.recovery.rows import row_of_request, row_of_return
from processors.scheduler import Scheduler
from topics.codec import decode_request, decode_return
from topics.control import ControlRecord
from topics.errors import CodecError, PipelineError
from topics.fleet import Heartbeat, LaneReport
from topics.headers import Headers
from topics.requests import Cancellation
from topics.trace_rows import RequestRow

logger = logging.getLogger(__name__)

LONGEST_S: Final = 3600.0


class LaneRecord(Struct, kw_only=True, frozen=True):
    """A record of a lane or of the returns topic, and how to acknowledge it."""

    at: Address
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    ack: Callable[[], object]


class Shard:
    """From its assignment to its revocation.

    Args:
        scheduler: decides.
        number: of the shard.
        executor: does what it decided.
        delivered: settles an input, by and by, that needs no outputs any more.
        now_s: broker time.

    Attributes:
        waiting: what has come while the logs are read, in order; None once the shard has begun.
        is_closed: it was taken away.
    """

    __slots__ = (
        "_delivered",
        "_executor",
        "_legacy",
        "_now_s",
        "_timer",
        "_timer_at_s",
        "is_closed",
        "number",
        "scheduler",
        "waiting",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        number: int,
        *,
        executor: Executor,
        delivered: Callable[[Address], None],
        now_s: Callable[[], float],
    ) -> None:
        self.scheduler = scheduler
        self.number = number
        self.waiting: deque[Callable[[], None]] | None = deque()
        self.is_closed = False
        self._executor = executor
        self._delivered = delivered
        self._now_s = now_s
        self._legacy: Legacy | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0

    def begin(self, legacy: Legacy) -> None:
        """Go on where the former owner was, before anything that waits is handled."""
        legacy.conclude()
        self._apply(self.scheduler.inherit(legacy))
        self._legacy = None if legacy.is_spent else legacy

    def close(self) -> None:
        """Never wake again, and drop what waits: the next owner reads it."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def on_lane_record(self, record: LaneRecord, latency_class: str) -> None:
        """A record of the lane of a class."""
        if self.waiting is None:
            self._take(record, latency_class)
        else:
            self.waiting.append(partial(self._take, record, latency_class))

    def on_return_record(self, record: LaneRecord) -> None:
        """A record of the returns topic."""
        if self.waiting is None:
            self._take_back(record)
        else:
            self.waiting.append(partial(self._take_back, record))

    def on_heartbeat(self, heartbeat: Heartbeat, at_ms: int) -> None:
        """A worker has spoken."""
        if self.waiting is None:
            self._hear(heartbeat, at_ms)
        else:
            self.waiting.append(partial(self._hear, heartbeat, at_ms))

    def on_lanes(self, report: LaneReport) -> None:
        """A shard of the model has told what waits there."""
        self.scheduler.on_lanes(report, now_s=self._now_s())

    def on_cancel(self, cancellation: Cancellation) -> None:
        """A sender wants a request to end."""
        if self.waiting is None:
            self._cancel(cancellation)
        else:
            self.waiting.append(partial(self._cancel, cancellation))

    def on_control(self, record: ControlRecord) -> None:
        """An operator or controller has decided something."""
        self._apply(self.scheduler.on_control(record, now_s=self._now_s()))

    def _take(self, record: LaneRecord, latency_class: str) -> None:
        try:
            if self._legacy is not None and self._is_done(self._legacy, record, latency_class):
                return
            request = decode_request(_value(record))
            arrival = Arrival(at=record.at, timestamp_ms=record.timestamp_ms, request=request, headers=record.headers)
            self._apply(self.scheduler.on_request(arrival, latency_class, now_s=self._now_s()))
        except CodecError as error:
            self._bury(record, error.code, error.message)
        except Exception as error:
            logger.exception("record %s/%s/%s could not be handled", *record.at)
            self._bury(record, PipelineError.code, repr(error))

    def _take_back(self, record: LaneRecord) -> None:
        try:
            if self._legacy is not None and self._is_done(self._legacy, record, None):
                return
            handback = Handback(at=record.at, record=decode_return(_value(record)), headers=record.headers)
            self._apply(self.scheduler.on_return(handback, now_s=self._now_s()))
        except PipelineError as error:
            self._bury(record, error.code, error.message)
        except Exception as error:
            logger.exception("record %s/%s/%s could not be handled", *record.at)
            self._bury(record, PipelineError.code, repr(error))

    def _hear(self, heartbeat: Heartbeat, at_ms: int) -> None:
        self._apply(self.scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=self._now_s()))

    def _cancel(self, cancellation: Cancellation) -> None:
        self._apply(self.scheduler.on_cancel(cancellation, now_s=self._now_s()))

    def _is_done(self, legacy: Legacy, record: LaneRecord, latency_class: str | None) -> bool:
        """Whether the former owner has dispatched or answered it: then it is settled."""
        fate = legacy.take(record.at)
        if fate is None:
            return False
        if legacy.is_spent:
            self._legacy = None
        if fate.terminal is not None:
            row: RequestRow
            if latency_class is None:
                row = row_of_return(fate.terminal, record.value, record.headers)
            else:
                row = row_of_request(
                    fate.terminal,
                    latency_class,
                    at=record.at,
                    timestamp_ms=record.timestamp_ms,
                    value=record.value,
                    headers=record.headers,
                )
            self._executor.account(row)
        self._delivered(record.at)
        return True

    def _bury(self, record: LaneRecord, code: str, message: str) -> None:
        self._executor.bury(
            record.at, key=record.key, value=record.value, headers=record.headers, code=code, message=message
        )

    def _apply(self, effects: list[Effect]) -> None:
        self._executor.apply(self.number, effects)
        self._arm()

    def _arm(self) -> None:
        """One timer; one that rings too early asks again, so that it need not be moved at every event."""
        wake_at_s = self.scheduler.wake_at_s
        if wake_at_s is None or self.is_closed or (self._timer is not None and self._timer_at_s <= wake_at_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = wake_at_s
        delay_s = min(max(0.0, wake_at_s - self._now_s()), LONGEST_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if not self.is_closed:
            self._apply(self.scheduler.on_wake(now_s=self._now_s()))


def _value(record: LaneRecord) -> bytes:
    if record.value is None:
        raise CodecError("the record has no value")
    return record.value
