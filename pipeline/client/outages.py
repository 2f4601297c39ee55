"""Saying once that the broker is away, and once that it is back."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

logger = logging.getLogger(__name__)

REPEAT_AFTER_S: Final = 60.0
_CHATTY: Final = ("aiokafka", "aiokafka.conn", "aiokafka.consumer.fetcher", "aiokafka.producer.sender")


class OutageLog:
    """Logs the changes between reachable and not.

    While it is `attached`, repeats of aiokafka's own complaints are held back for a minute each: it retries several
    times a second and says so each time.
    """

    def __init__(self, brokers: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._brokers = brokers
        self._is_reachable = True
        self._filter = _RepeatFilter(clock)

    def attach(self) -> None:
        """Begin to hold back repeats."""
        for name in _CHATTY:
            logging.getLogger(name).addFilter(self._filter)

    def detach(self) -> None:
        """Let everything through again. Idempotent."""
        for name in _CHATTY:
            logging.getLogger(name).removeFilter(self._filter)

    def report(self, *, is_reachable: bool, waiting: int) -> None:
        """How it is by now; `waiting` requests are open."""
        if is_reachable == self._is_reachable:
            return
        self._is_reachable = is_reachable
        if is_reachable:
            logger.info("kafka at %s is reachable again; %d open requests go on", self._brokers, waiting)
        else:
            logger.warning("kafka at %s cannot be reached; %d open requests wait for it", self._brokers, waiting)


class _RepeatFilter(logging.Filter):
    """Lets a message through whose template was not let through in the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._passed_at_s: dict[Any, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may pass."""
        now_s = self._clock()
        if now_s - self._passed_at_s.get(record.msg, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self._passed_at_s) > 1000:
            self._passed_at_s.clear()
        self._passed_at_s[record.msg] = now_s
        return True
