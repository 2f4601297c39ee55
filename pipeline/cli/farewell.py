"""A worker on its way out, as the logs tell it: who can be drained, how far it is, and whether it has gone. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from topics.control import Drain
from topics.dispatches import Return
from topics.errors import SettingsError, TransportError
from topics.fleet import STALE_AFTER_S, Heartbeat

State = Literal["draining", "stopped", "gone"]
NOBODY: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A worker's newest heartbeat, and the broker time of it."""

    heartbeat: Heartbeat
    at_ms: int

    def is_alive(self, now_ms: int) -> bool:
        """Whether it is there and was heard of lately."""
        return self.heartbeat.state != "stopped" and now_ms - self.at_ms <= STALE_AFTER_S * 1000


def order(heard: Iterable[Heard], worker: str, *, grace_ms: int, is_last_allowed: bool, now_ms: int) -> Drain:
    """The record that drains a worker.

    Args:
        heard: newest heartbeats of all workers that were heard of lately.
        worker: its name.
        grace_ms: what ends within it is not moved.
        is_last_allowed: whether it may be the only one of its deployment.
        now_ms: broker time.

    Raises:
        SettingsError: there is no such worker, or it is the last one of its deployment.
        TransportError: it was heard of and is silent.
    """
    known = {one.heartbeat.worker: one for one in heard if one.heartbeat.state != "stopped"}
    found = known.get(worker)
    if found is None:
        raise SettingsError(f"no worker {worker!r}; there are: {', '.join(sorted(known)) or NOBODY}")
    if not found.is_alive(now_ms):
        silent_s = (now_ms - found.at_ms) / 1000
        raise TransportError(
            f"worker {worker} has been silent for {silent_s:.0f} s and cannot be told; if it is dead, its slots move "
            "by themselves when the session of its group is over"
        )
    deployment = found.heartbeat.deployment
    others = [
        name
        for name, one in known.items()
        if name != worker
        and one.is_alive(now_ms)
        and one.heartbeat.state == "ready"
        and one.heartbeat.deployment == deployment
    ]
    if not others and not is_last_allowed:
        raise SettingsError(
            f"worker {worker} is the only one of {deployment} that serves: its requests would wait until another one "
            "comes; start one first, or give --last"
        )
    return Drain(worker=worker, run=found.heartbeat.run, grace_ms=grace_ms)


class Farewell:
    """Follows one drain.

    Args:
        order: what the worker was told.
        since_ms: broker time of that.
    """

    def __init__(self, order: Drain, *, since_ms: int) -> None:
        self._order = order
        self._heard_ms = since_ms
        self._is_replaced = False
        self._has_stopped = False
        self.running = 0
        self.waiting = 0
        self.handed_back = 0

    def on_heartbeat(self, heartbeat: Heartbeat, *, at_ms: int) -> None:
        """A record of the workers topic."""
        if heartbeat.worker != self._order.worker:
            return
        if heartbeat.run != self._order.run:
            self._is_replaced = True
            return
        self._heard_ms = at_ms
        self.running, self.waiting = heartbeat.running, heartbeat.waiting
        self._has_stopped = heartbeat.state == "stopped"

    def on_return(self, record: Return) -> None:
        """A record of the returns topic that came after the order."""
        if record.worker == self._order.worker:
            self.handed_back += 1

    def state(self, now_ms: int) -> State:
        """`stopped` when it said goodbye, `gone` when it is silent or its successor speaks."""
        if self._has_stopped:
            return "stopped"
        is_silent = now_ms - self._heard_ms > STALE_AFTER_S * 1000
        return "gone" if is_silent or self._is_replaced else "draining"

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        return f"{self.running} running, {self.waiting} waiting, {self.handed_back} handed back"
