"""What the worker's core wants done. Values only; `pipeline.worker.shell` carries them out in order."""

from dataclasses import dataclass

from msgspec import Struct

from pipeline.engines.protocol import EngineRequest
from pipeline.worker.slot import SlotOwner
from topics.codec import encode
from topics.dispatches import Primary
from topics.responses import Delta
from topics.trace_rows import Row


class Send(Struct, frozen=True, gc=False):
    """Publish a record. Records of one partition go out in the order of their effects.

    `ref` names what the record belongs to: when the last one (`is_last`) is acknowledged the core is told, and when any
    is refused it is told too, and what follows of the same `ref` is not sent. `content` is a delta where it may share
    its record with those that follow it.
    """

    topic: str
    partition: int
    key: bytes
    content: bytes | Delta
    ref: str
    is_last: bool = False
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def value(self) -> bytes:
        """The record's value, where it has a record of its own."""
        return self.content if isinstance(self.content, bytes) else encode(self.content)


class Submit(Struct, frozen=True):
    """Give a sequence to the engine."""

    request: EngineRequest


class Abort(Struct, frozen=True):
    """Make the engine end a sequence."""

    key: str


class Follow(Struct, frozen=True):
    """Read the records of a request for a job, from the beginning on: of its primary, or its own."""

    serial: int
    request: Primary


class Unfollow(Struct, frozen=True):
    """Read nothing more for a job."""

    serial: int


class AddRow(Struct, frozen=True):
    """Write a row of the account."""

    row: Row


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The record at `offset` needs no more work, once the rows added so far are delivered."""

    slot: SlotOwner
    offset: int


class Fatal(Struct, frozen=True):
    """The worker cannot go on without losing something: end the process, a successor takes over."""

    reason: str


class Leave(Struct, frozen=True, kw_only=True):
    """Begin nothing more, hand back what does not end within `grace_s` seconds, and end the process.

    `reason` is for the log; `is_failure` says whether the process ends with an error.
    """

    grace_s: float
    reason: str
    is_failure: bool = False


Effect = Send | Submit | Abort | Follow | Unfollow | AddRow | Acknowledge | Fatal | Leave
