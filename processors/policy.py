"""What is configured for the scheduler of one shard of a model. Values only."""

from collections.abc import Mapping

from msgspec import Struct


class ClassPolicy(Struct, kw_only=True, frozen=True):
    """A latency class: `priority` 0 goes first; `deadline_ms` applies where a request names none.

    A class that `yields` fills what the others leave, and leaves them a reserve on every worker.
    """

    priority: int
    deadline_ms: int
    queue_limit: int
    yields: bool = False


class Policy(Struct, kw_only=True, frozen=True):
    """A model and its classes.

    Attributes:
        stable: the deployment that serves the model until a rollout says otherwise; None where there is none.
        longest_deadline_ms: topics keep records for longer than this, so no request may ask for more.
        shards: partitions of each lane; a shard uses its share of every worker's credits.
    """

    model: str
    classes: Mapping[str, ClassPolicy]
    stable: str | None
    longest_deadline_ms: int
    shards: int = 1

    def by_priority(self) -> list[str]:
        """Names of the classes, the most urgent first."""
        return sorted(self.classes, key=lambda name: (self.classes[name].priority, name))


class Identity(Struct, kw_only=True, frozen=True):
    """Who decides.

    Attributes:
        process: names the process in the trace.
        sender: names this one life of the scheduler in dispatches; never used twice, because `seq` starts again.
    """

    process: str
    sender: str
    shard: int = 0
