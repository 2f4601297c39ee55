"""An admitted request on its way through the processor."""

import msgspec
from msgspec import Struct

from processors.events import Address
from topics.bodies import Endpoint
from topics.dispatches import Told
from topics.headers import Headers
from topics.requests import ReplyTo
from topics.responses import Usage

Key = tuple[str, str]
"""Tenant and id: the identity of a request within its model."""


class Demand(Struct, frozen=True):
    """What a request will take of a worker, estimated without a tokenizer.

    `kv_tokens` is prompt and answers together. One that `yields` does not touch a worker's reserve.
    """

    sequences: int
    prompt_tokens: int
    kv_tokens: int
    yields: bool = False


class Ticket(Struct, kw_only=True):
    """A request that waits. `at` is the record that its dispatch or answer settles; `hop` is that of its next dispatch.

    `due_at_ms` is when its first token (all of its answer, where the class has an e2e target) has to be out for the
    SLO to be met: queues are ordered by it, and never later than `deadline_at_ms`, when the request expires.
    `prefixes` are the hashes of its prompt's beginnings (`topics.prefixes`), the shortest first.
    `fingerprint` says what it asks for (`processors.dedupe.fingerprint`); empty where nobody can ask for the same.
    `usage` is what it has used at workers that handed it back, `told` what its sender has of its answer from them.
    `is_waiting` turns false once, when it was dispatched, ended or dropped.
    """

    at: Address
    origin: str
    id: str
    tenant: str
    latency_class: str
    endpoint: Endpoint
    body: msgspec.Raw
    reply: ReplyTo
    produced_ms: int
    admitted_us: int
    deadline_at_ms: int
    due_at_ms: int
    priority: int
    demand: Demand
    headers: Headers
    trace_id: bytes
    hop: int = 0
    first_dispatched_at_ms: int | None = None
    prefixes: tuple[int, ...] = ()
    may_be_shed: bool = False
    fingerprint: bytes = b""
    is_deterministic: bool = False
    streams: bool = False
    usage: Usage | None = None
    told: Told | None = None
    is_waiting: bool = True

    @property
    def key(self) -> Key:
        """Identity within the model."""
        return (self.tenant, self.id)
