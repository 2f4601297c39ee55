"""What the worker's core wants done. Values only; `pipeline.worker.shell` carries them out in order."""

from dataclasses import dataclass

from msgspec import Struct

from pipeline.engines.protocol import EngineRequest
from pipeline.worker.slot import SlotOwner
from topics.dispatches import Primary
from topics.trace import Row


class Send(Struct, frozen=True, gc=False):
    """Publish a record. Records of one partition go out in the order of their effects.

    `ref` names what the record belongs to: when the last one (`is_last`) is acknowledged the core is told, and when any
    is refused it is told too, and what follows of the same `ref` is not sent.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    ref: str
    is_last: bool = False
    headers: tuple[tuple[str, bytes], ...] = ()


class Submit(Struct, frozen=True):
    """Give a sequence to the engine."""

    request: EngineRequest


class Abort(Struct, frozen=True):
    """Make the engine end a sequence."""

    key: str


class Follow(Struct, frozen=True):
    """Read the records of a primary for an attached job, from the beginning on."""

    serial: int
    primary: Primary


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


Effect = Send | Submit | Abort | Follow | Unfollow | AddRow | Acknowledge | Fatal
