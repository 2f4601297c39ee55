"""What a scheduler is told. Times are the broker's: the timestamp of the record, in milliseconds since the epoch."""

from typing import NamedTuple

from msgspec import Struct

from topics.codec import Malformed
from topics.dispatches import Return
from topics.headers import Headers
from topics.names import origin_of
from topics.requests import Request


class Address(NamedTuple):
    """Where a record lies. An effect that settles an address allows its offset to be committed."""

    topic: str
    partition: int
    offset: int

    @property
    def origin(self) -> str:
        """The address as it is written into records."""
        return origin_of(self.topic, self.partition, self.offset)


class Arrival(Struct, kw_only=True, frozen=True):
    """A record of a lane: a request, or what is wrong with it. `headers` are the record's."""

    at: Address
    timestamp_ms: int
    request: Request | Malformed
    headers: Headers = []


class Handback(Struct, kw_only=True, frozen=True):
    """A record of the returns topic: work that a worker gives back unfinished."""

    at: Address
    record: Return
    headers: Headers = []
