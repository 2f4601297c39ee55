"""What lies in a worker slot (a partition of a dispatch topic), and what workers hand back.

A slot is a log: markers of its owners, dispatched requests and cancellations, in one order that everyone sees. Records
are told apart by `type`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from topics.bodies import Endpoint
from topics.requests import ReplyTo, wire_version
from topics.responses import Usage

Count = Annotated[int, Meta(ge=0)]


class BatchPart(Struct, kw_only=True, frozen=True):
    """Which part of which batch a dispatch is. A run-to-completion engine waits for all `size` parts."""

    id: str
    index: Count
    size: Annotated[int, Meta(ge=1)]


class Stations(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """When a request passed the stations before its worker, in microseconds since the epoch; 0 where it did not.

    `produced` is broker time in whole milliseconds; the others are the processor's wall clock. Differences between the
    two contain the difference of the clocks.
    """

    produced_at_us: int
    admitted_at_us: int = 0
    batched_at_us: int = 0
    dispatched_at_us: int = 0


class Told(Struct, kw_only=True, frozen=True):
    """What a request's sender has of its answer, from attempts that others go on after.

    `tokens` is at least 1; the times are of the first and of the newest of them, in microseconds since the epoch, by
    the clock of whoever made them or by the broker's.
    """

    tokens: Count
    first_at_us: int
    last_at_us: int


class Primary(Struct, kw_only=True, frozen=True):
    """A request whose answer another one shares. Its records lie at `reply`, none before the broker time `since_ms`."""

    id: str
    origin: str
    reply: ReplyTo
    since_ms: int


class Dispatch(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="dispatch"):
    """One request, given to the owner of a slot.

    `hop` grows by one whenever a request is dispatched again on purpose. `sender` and `seq` number the dispatches that
    one processor put into this slot, from 1: a heartbeat that names a `seq` has counted everything up to it.
    `first_dispatched_at_ms` is the broker time of the request's first dispatch, absent on hop 0. `due_at_ms` is when it
    has to be served for its target to be met, and no later than its deadline: work that is handed back keeps it. It is
    absent where an older processor did not say, and the target of its class holds.

    `backlog` counts the tenant's requests that waited in the same lane when this one was dispatched. `told` is what
    hops before this one have told of the answer, as far as they said so; the log of the answer knows better.

    What `yields` may be parked: ended, handed back and gone on with later, when the worker is given something that does
    not yield and has no room for it. `sequence_limit` says how many sequences the worker is to hold at most once it has
    this one, 0 for as many as its engine takes. A worker that does not know these fields parks nothing.

    A dispatch with a `primary` is attached: its worker copies the answer of that request instead of generating one, or
    hands the dispatch back as `detached` if there will be none. It takes no room, and its `seq` is 0. A worker that
    does not know the field generates the answer, which is right as well.
    """

    id: str
    tenant: str
    model: str
    latency_class: str = msgspec.field(name="class")
    deployment: str
    endpoint: Endpoint
    body: msgspec.Raw
    origin: str
    reply: ReplyTo
    deadline_at_ms: int
    due_at_ms: Count = 0
    priority: int
    hop: Count = 0
    first_dispatched_at_ms: int | None = None
    sender: str
    seq: Count
    batch: BatchPart
    stations: Stations
    reason: str
    backlog: Count = 0
    yields: bool = False
    sequence_limit: Count = 0
    primary: Primary | None = None
    told: Told | None = None
    v: int = msgspec.field(default_factory=wire_version)


class Owner(Struct, kw_only=True, frozen=True, tag_field="type", tag="owner"):
    """Marker of a new owner of the slot. Its offset is the owner's term."""

    worker: str
    run: str
    v: int = msgspec.field(default_factory=wire_version)


class Cancel(Struct, kw_only=True, frozen=True, tag_field="type", tag="cancel"):
    """A cancellation, forwarded into the slot of its request so that it outlives the worker."""

    id: str
    tenant: str
    origin: str | None = None
    v: int = msgspec.field(default_factory=wire_version)


SlotRecord = Dispatch | Owner | Cancel


class Return(Struct, kw_only=True, frozen=True, tag_field="type", tag="return"):
    """Work that a worker hands back unfinished: the processor dispatches it again with the next hop.

    Nothing was written for the request before `dispatched_at_ms` in broker time. `detached`: the primary of an attached
    dispatch has ended without an answer that can be shared. `parked`: it gave way to work that does not yield.
    `usage` is what the request has used so far, where it has begun, `generated` the tokens of the attempt that ended.
    `dispatch` is as it was but for `told`, which counts the attempt that ended.
    """

    dispatch: Dispatch
    dispatched_at_ms: int
    worker: str
    reason: Literal["drained", "parked", "detached"]
    usage: Usage | None = None
    generated: Count = 0
    v: int = msgspec.field(default_factory=wire_version)
