"""Dead letters as values: what lies on `inference.dlq`, and which of it is asked for. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from topics import names
from topics.errors import SettingsError
from topics.headers import DLQ_PREFIX, DLQ_REPLAYED, DLQ_REPLAYING, DLQ_TRUNCATED, Headers, header, original_headers

_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)\Z")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Position(NamedTuple):
    """Where a letter lies on the dead-letter topic."""

    partition: int
    offset: int

    @property
    def address(self) -> str:
        """`topic/partition/offset`."""
        return names.origin_of(names.DEAD_LETTERS, self.partition, self.offset)

    def __str__(self) -> str:
        """`partition/offset`, as it is given on command lines."""
        return f"{self.partition}/{self.offset}"

    @classmethod
    def of(cls, text: str) -> "Position":
        """The position written as `partition/offset`, with or without the topic before it.

        Raises:
            SettingsError: it is written otherwise.
        """
        topic, _, rest = text.rpartition(f"{names.DEAD_LETTERS}/")
        matched = re.fullmatch(r"(\d+)/(\d+)", rest)
        if topic or matched is None:
            raise SettingsError(f"{text!r} is no position; write partition/offset, as `millrace dlq list` shows it")
        return cls(int(matched[1]), int(matched[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter.

    Attributes:
        at_ms: broker time at which it came here.
        headers: all of them, the reasons among them.
        value: the original bytes; None where the record had none or they were left out.
        value_bytes: how many the letter has.
    """

    position: Position
    at_ms: int
    key: bytes | None
    headers: Headers = field(default_factory=list)
    value: bytes | None
    value_bytes: int

    @property
    def topic(self) -> str:
        """Where its record lay; empty where that is not told."""
        return self._said("topic")

    @property
    def origin(self) -> str:
        """Address of its record."""
        return f"{self.topic}/{self._said('partition')}/{self._said('offset')}"

    @property
    def partition(self) -> int | None:
        """Partition of its record; None where that is not told, or it was in none."""
        said = self._said("partition")
        return int(said) if said.isdecimal() else None

    @property
    def stage(self) -> str:
        """Who put it here: `processor`, `worker` or `recorder`."""
        return self._said("stage")

    @property
    def code(self) -> str:
        """Why, as a code of `topics.errors`."""
        return self._said("code")

    @property
    def message(self) -> str:
        """Why, in words."""
        return self._said("message")

    @property
    def missing_bytes(self) -> int:
        """How much of its value was cut off because it did not fit."""
        said = (header(self.headers, DLQ_TRUNCATED) or b"").decode(errors="replace")
        return max(0, int(said) - self.value_bytes) if said.isdecimal() else 0

    @property
    def original_headers(self) -> Headers:
        """Headers of its record."""
        return original_headers(self.headers)

    def _said(self, name: str) -> str:
        return (header(self.headers, DLQ_PREFIX + name) or b"").decode(errors="replace")


def is_mark(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether a record of the dead-letter topic is no letter but tells about the replay of one."""
    found = {name for name, _ in headers}
    tells = bool(found & {DLQ_REPLAYED, DLQ_REPLAYING})
    return tells and not any(name.startswith(DLQ_PREFIX) for name in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters. None for any.

    Attributes:
        since_ms: not older than this, broker time in milliseconds since the epoch.
    """

    code: str | None = None
    topic: str | None = None
    since_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            self.code in (None, letter.code)
            and self.topic in (None, letter.topic)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
        )


def moment_ms(text: str, now: datetime) -> int:
    """A length of time before now (`90s`, `30m`, `1h`, `7d`) or an ISO 8601 time, in milliseconds since the epoch.

    Raises:
        SettingsError: it is neither.
    """
    length = _LENGTH.match(text)
    if length is not None:
        return int((now.timestamp() - float(length[1]) * _UNIT_S[length[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"--since {text!r} is no time; write 90s, 30m, 1h, 7d or 2026-01-31T13:30 (UTC)") from error
    return int((moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp() * 1000)
