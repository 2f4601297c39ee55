"""What a client sends: requests and cancellations.

A request is one JSON object in the shape of a line of an OpenAI batch file. Only `body` is required: the topic says
which model and class is meant. Unknown fields are ignored, so that a newer client can talk to an older pipeline.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from topics.bodies import Endpoint

WIRE_VERSION: Final = 1
"""`v` of every record. Readers accept records of this version and ignore fields they do not know."""


def wire_version() -> int:
    """`WIRE_VERSION`, as a factory: a default that is called is written even where other defaults are left out."""
    return WIRE_VERSION


MAX_DEADLINE_MS: Final = 7 * 24 * 3600 * 1000

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Tenant = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]
DEFAULT_TENANT: Final = "default"


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called so."""
    try:
        msgspec.convert(name, Tenant)
    except msgspec.ValidationError:
        return False
    return True


class ReplyTo(Struct, kw_only=True, frozen=True):
    """Where the answer goes: an existing partition of `inference.responses` or `inference.responses.<name>`."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]


class Request(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A request as it lies on its lane's topic.

    `deadline_ms` counts from the record's timestamp, in broker time. `body` keeps the sender's bytes: they are decoded
    once at admission (`topics.bodies`) and carried on unchanged. `session` names a conversation; nothing uses it yet.
    """

    body: msgspec.Raw
    id: Id | None = None
    endpoint: Endpoint | None = None
    tenant: Tenant = DEFAULT_TENANT
    deadline_ms: Annotated[int, Meta(ge=1, le=MAX_DEADLINE_MS)] | None = None
    reply: ReplyTo | None = None
    session: Annotated[str, Meta(max_length=256)] | None = None
    v: int = msgspec.field(default_factory=wire_version)


class Cancellation(Struct, kw_only=True, frozen=True, tag_field="type", tag="cancellation"):
    """Asks to end a request, wherever it is. Identity is (tenant, model, id): tenants can cancel only their own."""

    id: Id
    model: str
    tenant: Tenant = DEFAULT_TENANT
    v: int = msgspec.field(default_factory=wire_version)


class Salvage(Struct, kw_only=True, frozen=True):
    """What can be read of a request that is not valid, so that its sender can be told."""

    id: object = None
    tenant: object = None
    reply: object = None
