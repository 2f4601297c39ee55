"""Names on the wire: models, deployments, lanes and the topics that belong to them.

The grammar is strict so that a topic name can be taken apart again: a model, a version and a latency class are
`[a-z0-9-]+`, never contain a dot, and a deployment `model@version` is written `model.version` inside a topic name.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Final

RESPONSES: Final = "inference.responses"
CONTROL: Final = "inference.control"
CANCELLATIONS: Final = "inference.cancellations"
TRACE: Final = "inference.trace"
FEEDBACK: Final = "inference.feedback"
DEAD_LETTERS: Final = "inference.dlq"

_WORD: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_REQUESTS_PREFIX: Final = "inference.requests."


def is_name(word: str) -> bool:
    """Whether `word` may name a model, a version, a latency class or a response topic: `[a-z0-9]+(-[a-z0-9]+)*`."""
    return _WORD.match(word) is not None


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """One ordered queue of requests: a model and a latency class. It is exactly one topic."""

    model: str
    latency_class: str

    @property
    def topic(self) -> str:
        """Name of the lane's request topic."""
        return f"{_REQUESTS_PREFIX}{self.model}.{self.latency_class}"

    @classmethod
    def of_topic(cls, topic: str) -> "Lane":
        """The lane of a request topic.

        Raises:
            ValueError: `topic` is not `inference.requests.<model>.<class>`.
        """
        words = topic.removeprefix(_REQUESTS_PREFIX).split(".")
        if not topic.startswith(_REQUESTS_PREFIX) or len(words) != 2 or not all(map(is_name, words)):
            raise ValueError(f"{topic!r} is not a request topic; expected inference.requests.<model>.<class>")
        return cls(words[0], words[1])


def model_of(deployment: str) -> str:
    """Model of a deployment `model@version`."""
    return deployment.partition("@")[0]


def version_of(deployment: str) -> str:
    """Version of a deployment `model@version`."""
    return deployment.partition("@")[2]


def dispatch_topic(deployment: str) -> str:
    """Topic whose partitions are the worker slots of a deployment `model@version`."""
    return f"inference.dispatch.{deployment.replace('@', '.')}"


def workers_topic(model: str) -> str:
    """Topic of the heartbeats of all workers of a model; read without a group by everyone who needs it."""
    return f"inference.workers.{model}"


def returns_topic(model: str) -> str:
    """Topic of work that workers hand back to the processor of a model."""
    return f"inference.returns.{model}"


def responses_topic(name: str = "") -> str:
    """The response topic of a pool or tenant, or the common one for an empty name."""
    return f"{RESPONSES}.{name}" if name else RESPONSES


def is_responses_topic(topic: str) -> bool:
    """Whether replies may go to `topic`: `inference.responses` or `inference.responses.<name>`."""
    return topic == RESPONSES or (topic.startswith(RESPONSES + ".") and is_name(topic[len(RESPONSES) + 1 :]))


def origin_of(topic: str, partition: int, offset: int) -> str:
    """Address of a record, `topic/partition/offset`. Unique in a cluster, and `/` cannot occur in a topic name."""
    return f"{topic}/{partition}/{offset}"


def split_origin(origin: str) -> tuple[str, int, int]:
    """Topic, partition and offset of an address made by `origin_of`.

    Raises:
        ValueError: `origin` is no such address.
    """
    topic, partition, offset = origin.split("/")
    return topic, int(partition), int(offset)


def model_of_origin(origin: str) -> str:
    """Model of a request by its address; empty where it does not lie on a lane."""
    try:
        return Lane.of_topic(split_origin(origin)[0]).model
    except ValueError:
        return ""


def default_id(topic: str, partition: int, offset: int) -> str:
    """Id of a request whose sender gave none."""
    return f"{topic}-{partition}-{offset}"


def reply_partition(request_id: str, partitions: int) -> int:
    """Partition that answers a request which named none, in `0..partitions-1`.

    Source: CRC-32 of the UTF-8 id modulo the partition count, as librdkafka's `consistent` partitioner, so that a plain
    client in any language can compute it.
    """
    return zlib.crc32(request_id.encode()) % partitions
