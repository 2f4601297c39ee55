"""What operators and controllers decide, on the compacted topic `inference.control`.

The key of a record names what it is about (`deployment/<deployment>`, `rollout/<model>`, `worker/<worker>`), so that
compaction keeps the newest decision of each.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from topics.requests import wire_version


class DeploymentState(Struct, kw_only=True, frozen=True, tag_field="type", tag="deployment"):
    """A deployment `model@version` exists and may, or may no longer, get work."""

    deployment: str
    state: Literal["active", "draining", "retired"]
    v: int = msgspec.field(default_factory=wire_version)

    @property
    def key(self) -> str:
        """Record key."""
        return f"deployment/{self.deployment}"


class Rollout(Struct, kw_only=True, frozen=True, tag_field="type", tag="rollout"):
    """Which deployment serves a model. `canary` and `canary_ratio` are reserved: processors go by `stable` alone."""

    model: str
    stable: str
    canary: str | None = None
    canary_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.0
    v: int = msgspec.field(default_factory=wire_version)

    @property
    def key(self) -> str:
        """Record key."""
        return f"rollout/{self.model}"


class Drain(Struct, kw_only=True, frozen=True, tag_field="type", tag="drain"):
    """A worker is to begin nothing more, hand back what does not end within the grace period, and end.

    It is meant for one start of the worker, `run`, as heartbeats name it: a successor of the same name works on.
    """

    worker: str
    run: str
    grace_ms: Annotated[int, Meta(ge=0)] = 0
    v: int = msgspec.field(default_factory=wire_version)

    @property
    def key(self) -> str:
        """Record key."""
        return f"worker/{self.worker}"


ControlRecord = DeploymentState | Rollout | Drain
