"""Log lines that say the same again and again, said seldom. It decides which lines pass; who writes them is elsewhere.

Client libraries log every attempt to reach a broker that is away, twenty times a second and connection.
"""

import logging
import time
from typing import Final

EVERY_S: Final = 30.0
MAX_KINDS: Final = 1000


class Seldom:
    """Lets the first of many through at once, then one every `every_s` seconds, and counts those held back. Pure."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._next_s: float | None = None
        self._held_back = 0

    def due(self, now_s: float) -> int | None:
        """How many were held back since the last one that passed; None when this one is held back too."""
        if self._next_s is not None and now_s < self._next_s:
            self._held_back += 1
            return None
        self._next_s = now_s + self._every_s
        held_back, self._held_back = self._held_back, 0
        return held_back

    def reset(self) -> None:
        """The next one passes."""
        self._next_s = None


class SeldomRepeated(logging.Filter):
    """For a handler: each message template of the named loggers and their children passes every 30 s at most.

    Templates are told apart before their arguments are filled in, so that one broker's address is as good as another's.
    """

    def __init__(self, *loggers: str) -> None:
        super().__init__()
        self._prefixes = tuple(f"{name}." for name in loggers)
        self._kinds: dict[tuple[str, str], Seldom] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; says how many like it did not."""
        if not f"{record.name}.".startswith(self._prefixes):
            return True
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        held_back = self._kinds.setdefault((record.name, str(record.msg)), Seldom()).due(time.monotonic())
        if held_back:
            record.msg, record.args = f"{record.getMessage()} (and {held_back} more like this)", None
        return held_back is not None
