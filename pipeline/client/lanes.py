"""Which lanes the cluster has: a request to a lane that does not exist is told apart before it is produced."""

from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from topics.errors import ModelNotFound, TransportError
from topics.names import Lane

REFRESH_S: Final = 1.0


class Lanes:
    """The lanes of a cluster, by its metadata. A lane that was seen once is taken to exist from then on."""

    def __init__(self) -> None:
        self._known: frozenset[Lane] = frozenset()
        self._asked_at_s = -REFRESH_S

    async def check(self, lane: Lane, consumer: AIOKafkaConsumer, now_s: float) -> None:
        """Pass if the lane exists. The consumer's cluster is asked at most once a second.

        Raises:
            ModelNotFound: it does not; the message names those that do.
            TransportError: no broker answers.
        """
        if lane in self._known:
            return
        if now_s - self._asked_at_s >= REFRESH_S:
            self._known |= await _lanes_of(consumer)
            self._asked_at_s = now_s
        if lane not in self._known:
            raise ModelNotFound(explain(lane, self._known), param="model")


async def _lanes_of(consumer: AIOKafkaConsumer) -> frozenset[Lane]:
    try:
        cluster = await consumer._client.fetch_all_metadata()
    except KafkaError as error:
        raise TransportError(f"the cluster's topics cannot be listed: {error!r}") from error
    return frozenset(lanes_in(cluster.topics(exclude_internal_topics=True)))


def lanes_in(topics: Iterable[str]) -> list[Lane]:
    """The lanes among topic names, sorted. Names that only begin like a lane's are left out."""
    found = []
    for topic in topics:
        try:
            found.append(Lane.of_topic(topic))
        except ValueError:
            continue
    return sorted(found)


def explain(lane: Lane, known: Iterable[Lane]) -> str:
    """Why there is no such lane, and what there is."""
    classes = sorted(other.latency_class for other in known if other.model == lane.model)
    if classes:
        return f"model {lane.model!r} has no latency class {lane.latency_class!r}; it has: {', '.join(classes)}"
    models = sorted({other.model for other in known})
    return f"there is no model {lane.model!r}; there are: {', '.join(models) or 'none'}"
