"""What a scheduler wants to be done, as values. The shell executes them in order and decides nothing.

`settles` is the address of the input record that an effect answers for: its offset may be committed when the broker has
acknowledged what the effect produced.
"""

from msgspec import Struct

from processors.events import Address
from topics.dispatches import Cancel
from topics.dispatches import Dispatch as DispatchRecord
from topics.headers import Headers
from topics.requests import ReplyTo
from topics.responses import Response
from topics.trace_rows import Row


class Dispatch(Struct, kw_only=True, frozen=True):
    """Put a request into a worker slot: partition `slot` of the dispatch topic of the record's deployment."""

    record: DispatchRecord
    slot: int
    headers: Headers
    settles: Address


class Answer(Struct, kw_only=True, frozen=True):
    """End a request: write `records`, in this order and keyed by the request id, to `reply`."""

    records: tuple[Response, ...]
    reply: ReplyTo
    headers: Headers
    settles: Address


class Forward(Struct, kw_only=True, frozen=True):
    """Put a cancellation into the slot of its request. It settles nothing: cancellations are read without a group."""

    record: Cancel
    deployment: str
    slot: int


class PauseLane(Struct, kw_only=True, frozen=True):
    """Fetch no more of the lane of this class: its queue is full, the rest waits in Kafka."""

    latency_class: str


class ResumeLane(Struct, kw_only=True, frozen=True):
    """Fetch the lane of this class again."""

    latency_class: str


class Trace(Struct, kw_only=True, frozen=True):
    """Account for something."""

    row: Row


Effect = Dispatch | Answer | Forward | PauseLane | ResumeLane | Trace
