"""What workers that run batches to completion are doing, as far as their heartbeats and what they were given tell.

A worker has room while it runs nothing, or while what it runs is all it has and is about to end: then the next batch is
sent one hop early and waits at the worker for no longer than the prediction was wrong. Never deeper than that: whatever
still waits here can go elsewhere, or in a larger batch. Decides nothing about requests.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import Struct

from processors.batching.latency import LatencyModel
from processors.batching.turns import FIRST_TURN, Turns, turn_after
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Worker
from topics.fleet import BatchTiming, Finished

_SHORTEST_HOP_S: Final = 0.0005
"""A shorter hop is not worth hiding: nothing is sent ahead of an idle worker."""
_STRAGGLING: Final = 0.25
"""A batch that is late by this share of its expected time is a straggler: when it ends is anybody's guess."""
_TICK_S: Final = 0.001
"""Resolution of the times that heartbeats were written at."""


class Flight(Struct, kw_only=True, eq=False):
    """A batch that was sent to a worker and is not known to have ended.

    `remaining` are its requests that have not; `batch_id` is known once one has.
    """

    worker: str
    size: int
    tokens: int
    mean_s: float
    remaining: int
    batch_id: str = ""


class Timed(NamedTuple):
    """A batch that a worker timed, and the tokens that were assumed of it; None for one that was sent by others."""

    timing: BatchTiming
    assumed_tokens: int | None


class Opening(NamedTuple):
    """Room at a worker: when a batch sent now would start, and when, to be just in time, it should be sent."""

    worker: Worker
    start_s: float
    send_s: float
    is_idle: bool


class _Line:
    """The flights of one run of a worker, and when it is expected to be free.

    `idle_from_s` is when it was first told to have nothing, None while it has something.
    """

    __slots__ = ("flights", "foreign", "free_s", "has_landed", "idle_from_s", "run", "turn")

    def __init__(self, run: str) -> None:
        self.run = run
        self.flights: deque[Flight] = deque()
        self.free_s = 0.0
        self.foreign = 0
        self.has_landed = False
        self.turn = FIRST_TURN
        self.idle_from_s: float | None = None

    @property
    def depth(self) -> int:
        """Batches that it has, counting the requests of others as one."""
        return len(self.flights) + (1 if self.foreign else 0)

    def straggles(self, now_s: float) -> bool:
        """Whether it should have been free by now. Nothing is known of how long the batches of others take."""
        if not self.flights:
            return self.foreign > 0
        return now_s > self.free_s + _STRAGGLING * self.flights[0].mean_s


class Flights:
    """Batches under way at the workers of one model.

    Args:
        hop_s: one way through the broker, in seconds.
    """

    def __init__(self, hop_s: float) -> None:
        self._hop_s = hop_s
        self._early_s = 1.5 * hop_s
        self._is_worth_hiding = hop_s >= _SHORTEST_HOP_S
        self._lines: dict[str, _Line] = {}
        self._by_origin: dict[str, Flight] = {}
        self._landed: dict[str, Flight] = {}

    def __len__(self) -> int:
        """Batches that are not known to have ended."""
        return sum(len(line.flights) for line in self._lines.values())

    def under_way(self, worker: str) -> int:
        """Batches that a worker was given and is not known to have ended."""
        line = self._lines.get(worker)
        return len(line.flights) if line else 0

    def launch(self, opening: Opening, tickets: Iterable[Ticket], flight: Flight) -> None:
        """A batch is sent to a worker."""
        line = self._line(opening.worker)
        line.flights.append(flight)
        line.free_s = opening.start_s + flight.mean_s
        line.idle_from_s = None
        for ticket in tickets:
            self._by_origin[ticket.origin] = flight

    def land(self, finished: Finished) -> None:
        """A request ended; with the last one of its batch, the batch did."""
        flight = self._by_origin.pop(finished.origin, None)
        if flight is None:
            return
        flight.remaining -= 1
        flight.batch_id = finished.batch_id
        self._landed[flight.batch_id] = flight
        line = self._lines.get(flight.worker)
        if not flight.remaining and line is not None and flight in line.flights:
            line.flights.remove(flight)
            line.has_landed = True

    def leave(self, origin: str) -> None:
        """A request was handed back; with the last one of a batch, its worker has less to do."""
        flight = self._by_origin.pop(origin, None)
        if flight is None:
            return
        flight.remaining -= 1
        line = self._lines.get(flight.worker)
        if flight.remaining or line is None or flight not in line.flights:
            return
        if line.flights[0] is flight:
            line.has_landed = True
        else:
            line.free_s -= flight.mean_s
        line.flights.remove(flight)

    def follow(self, worker: Worker, *, now_s: float) -> Iterator[Timed]:
        """Take a newer heartbeat in; what ended by it was told before. Gives the batches that it timed."""
        line = self._line(worker)
        if worker.is_empty and line.flights:
            self._abandon(line)
        heartbeat = worker.heartbeat
        remaining = sum(flight.remaining for flight in line.flights)
        line.foreign = max(0, heartbeat.running + heartbeat.waiting - remaining)
        if line.has_landed:
            # The heartbeat was written when the batch had ended, so both of these are no earlier than that.
            ended_s = min(worker.at_s + _TICK_S, now_s - self._hop_s)
            line.free_s = ended_s + sum(flight.mean_s for flight in line.flights)
            line.has_landed = False
        if line.depth:
            line.idle_from_s = None
        elif line.idle_from_s is None:
            line.idle_from_s = worker.at_s
        for timing in heartbeat.batches:
            line.turn = turn_after(timing.id) if timing.id else line.turn
            flight = self._landed.pop(timing.id, None) if timing.id else None
            yield Timed(timing, flight.tokens if flight and flight.size == timing.size else None)
        self._landed.clear()

    def retain(self, workers: Iterable[str]) -> None:
        """Forget workers that are not among these."""
        known = set(workers)
        for name in [name for name in self._lines if name not in known]:
            self._abandon(self._lines.pop(name))

    def opening(self, workers: Iterable[Worker], *, now_s: float, turns: Turns | None = None) -> Opening | None:
        """The room where a batch would start first; None while every worker has as much as it should.

        `turns` are those of this shard where several share the workers, which then come in the order of their names.
        """
        best: Opening | None = None
        soonest_s = now_s + self._hop_s
        for index, worker in enumerate(workers):
            line = self._lines.get(worker.name)
            if line is None:
                line = self._line(worker)
            if turns is not None and not turns.is_own(index, line.turn):
                if line.idle_from_s is None:
                    continue
                send_s = max(now_s, line.idle_from_s + turns.lent_s(index))
                found = Opening(worker, send_s + self._hop_s, send_s, True)
            elif not line.depth:
                found = Opening(worker, max(soonest_s, line.free_s), now_s, True)
            elif line.depth == 1 and self._is_worth_hiding and not line.straggles(now_s):
                found = Opening(worker, max(soonest_s, line.free_s), line.free_s - self._early_s, False)
            else:
                continue
            if best is None or (found.start_s, not found.is_idle) < (best.start_s, not best.is_idle):
                best = found
        return best

    def free_s(self, workers: Iterable[Worker], *, turns: Turns | None = None) -> list[float]:
        """When each of these workers, or of the shard's own, is through with all that it has, the earliest first.

        It is in the past for idle ones.
        """
        lines = enumerate(map(self._line, workers))
        return sorted(line.free_s for index, line in lines if turns is None or turns.is_own(index, line.turn))

    def _line(self, worker: Worker) -> _Line:
        run = worker.heartbeat.run
        line = self._lines.get(worker.name)
        if line is None or line.run != run:
            if line is not None:
                self._abandon(line)
            line = self._lines[worker.name] = _Line(run)
        return line

    def _abandon(self, line: _Line) -> None:
        """Nothing more will be heard of what was sent there."""
        gone = set(map(id, line.flights))
        line.flights.clear()
        line.has_landed = True
        self._by_origin = {origin: flight for origin, flight in self._by_origin.items() if id(flight) not in gone}


def flight_of(worker: Worker, tickets: list[Ticket], model: LatencyModel) -> Flight:
    """A flight of these requests, as long as the model expects."""
    size = len(tickets)
    tokens = sum(ticket.demand.prompt_tokens for ticket in tickets)
    return Flight(worker=worker.name, size=size, tokens=tokens, mean_s=model.mean(size, float(tokens)), remaining=size)
