"""Partitions that are not fetched, and why: each reason is taken back by whoever gave it."""

import logging
from typing import Final, Literal, Protocol

logger = logging.getLogger(__name__)

Reason = Literal["full", "unacked", "rebuilding"]
FULL: Final = "full"
UNACKED: Final = "unacked"
REBUILDING: Final = "rebuilding"


class LaneFlow(Protocol):
    """Stops and goes on fetching a partition."""

    def hold(self, topic: str, partition: int) -> None:
        """Fetch no more of it."""
        ...

    def release(self, topic: str, partition: int) -> None:
        """Fetch it again."""
        ...


class Holds:
    """A partition is held while there is a reason. Idempotent: what is held already is held for one reason more.

    Args:
        flow: holds and releases.
    """

    def __init__(self, flow: LaneFlow) -> None:
        self._flow = flow
        self._held: dict[tuple[str, int], set[str]] = {}

    def hold(self, topic: str, partition: int, why: Reason) -> None:
        """There is a reason to fetch no more of it."""
        reasons = self._held.setdefault((topic, partition), set())
        if not reasons:
            logger.debug("%s/%s is paused: %s", topic, partition, why)
            self._flow.hold(topic, partition)
        reasons.add(why)

    def release(self, topic: str, partition: int, why: Reason) -> None:
        """That reason is gone; it is fetched again when all are."""
        reasons = self._held.get((topic, partition))
        if not reasons or why not in reasons:
            return
        reasons.discard(why)
        if not reasons:
            logger.debug("%s/%s is resumed", topic, partition)
            self._flow.release(topic, partition)

    def forget(self, topic: str, partition: int) -> None:
        """It is not ours any more."""
        self._held.pop((topic, partition), None)

    def renew(self, topic: str, partition: int) -> None:
        """Fetching began anew: hold it again if there is a reason."""
        if self._held.get((topic, partition)):
            self._flow.hold(topic, partition)
