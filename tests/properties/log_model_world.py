"""Workers over a modelled log: what may happen to them, and what has to hold whatever happens.

Requests are dispatched, dispatched twice, given a new hop, handed back, cancelled, ended by a processor; workers come,
stall, lose their slots, wake up as zombies and die; batches are refused, lost, or arrive late; engines die; retention
cuts the beginning off. In the end there is one undisturbed worker. Then each request has exactly one accepted terminal
and all its tokens, and at no time was a dispatch committed while nobody else could have ended its request.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Final

from pipeline.worker.effects import Send
from tests.properties.log_model import Broker, Choices, Commit, Group, Restless, Violation
from tests.properties.log_model_engine import Library
from tests.properties.log_model_requests import REPLIES, Requests
from tests.properties.log_model_worker import SLOTS, Surroundings, Worker
from topics.codec import decode_response
from topics.responses import Response

MOST_ATTEMPTS: Final = 400
SETTLING_TURNS: Final = 400
HARMLESS_GENERATIONS: Final = 3
QUIET_AFTER: Final = 0.8
"""The share of the choices that is spent before the world comes to rest; the rest is for zombies that wake up then."""


class World:
    """All that happens, drawn from `choices`."""

    def __init__(self, choices: Choices, *, slots: int = 3, questions: int = 3) -> None:
        self.choices = choices
        self.broker = Broker()
        self.group = Group(slots)
        library = Library()
        self.requests = Requests(self.broker, self.group, library, choices)
        self.alive: list[Worker] = []
        self._names = itertools.count()
        self._attempts = itertools.count()
        self._surroundings = Surroundings(
            broker=self.broker,
            group=self.group,
            library=library,
            choices=choices,
            new_id=self._new_attempt,
            on_append=self.requests.write,
            on_commit=self._on_commit,
            on_refused=self._on_refused,
        )
        for _ in range(questions):
            self.requests.ask()
        self._join()

    # What happens

    def disturb(self, *, only_owners: bool = False) -> None:
        """Spend most of the choices. `only_owners`: nothing happens to requests but that their workers change."""
        events: tuple[Callable[[], None], ...] = (
            *(self._step,) * 12,
            *(self._turn,) * 2,
            *(self._join, self._expel, self._kill, self._rebalance, self.requests.double, self._arrive_late),
        )
        if not only_owners:
            events += (
                *(self._step,) * 12,
                *(self.requests.hand_on,) * 2,
                *(self.requests.again, self.requests.end_returned, self.requests.reject, self.requests.cancel),
                *(self._drain, self._kill_engine, self._cut, self._pass),
            )
        keep = self.choices.left * (1 - QUIET_AFTER)
        while self.choices.left > keep:
            self.choices.of(events)()

    def settle(self) -> None:
        """One undisturbed worker at last; former ones may still wake up while there are choices."""
        zombies, self.alive = self.alive, []
        last = self._started()
        for _ in range(SETTLING_TURNS):
            if zombies and self.choices.left:
                zombie = self.choices.of(zombies)
                self._one_step(zombie)
                zombies = [worker for worker in zombies if not worker.is_dead]
            elif self.broker.late:
                self._arrive_late()
            last.turn()
            self.broker.now_ms += 1000
            self.requests.hand_on()
            if not self.choices.left and not self.broker.late and last.is_idle and self._is_done():
                return
            if last.is_dead:
                self.alive.clear()
                last = self._started()
        raise Restless(f"it does not come to rest: {self._unfinished()}")

    def check(self) -> None:
        """What has to hold in the end."""
        for asked in self.requests:
            if not asked.is_over:
                raise Violation(f"{asked.dispatch.origin} has not ended")

    @property
    def replies(self) -> list[Response]:
        """Every answer record that was ever written, in log order."""
        return [decode_response(record.value) for record in self.requests.written]

    # Events

    def _step(self) -> None:
        """One of them goes on for a moment; the others stall meanwhile."""
        busy = [worker for worker in self.alive if worker.slots or worker.assigned]
        if busy:
            worker = self.choices.of(busy)
            for _ in range(self.choices.of((1, 1, 2, 5, 9))):
                if not worker.is_dead:
                    self._one_step(worker)

    def _one_step(self, worker: Worker) -> None:
        worker.join()
        self.choices.of(worker.steps())()
        self._bury_the_dead()

    def _turn(self) -> None:
        if self.alive:
            self.choices.of(self.alive).turn()
        self._bury_the_dead()

    def _bury_the_dead(self) -> None:
        self.alive = [worker for worker in self.alive if not worker.is_dead]

    def _join(self) -> None:
        if len(self.alive) < 4:
            self._started()

    def _started(self) -> Worker:
        """A process that comes, and takes part in the group from then on."""
        skew_ms = self.choices.of((0, 0, 0, 7000, -3000))
        worker = Worker(f"w{next(self._names)}", self._surroundings, skew_ms=skew_ms)
        self.alive.append(worker)
        self._form([*(w for w in self.alive if w.name in self.group.members), worker])
        return worker

    def _expel(self) -> None:
        """The session of a worker that stalls has timed out; it does not know."""
        members = [worker for worker in self.alive if worker.name in self.group.members]
        if len(members) > 1:
            members.remove(self.choices.of(members))
            self._form(members)

    def _rebalance(self) -> None:
        """Whoever is alive joins again, former members among them."""
        if self.alive:
            self._form(self.alive)

    def _form(self, members: list[Worker]) -> None:
        """A new generation. All of them hear that it begins; when each hears of its slots is up to it.

        A request that several owners in a row have left without progress is suspected of killing them.
        """
        if self.group.generation >= HARMLESS_GENERATIONS:
            self.requests.excuse("failed")
        for worker in members:
            worker.join()
            worker.suspend()
        by_name = {worker.name: worker for worker in members}
        for name, partitions in self.group.rebalance(list(by_name), self.choices.byte() % 3):
            by_name[name].assigned.append((self.group.generation, partitions))

    def _kill(self) -> None:
        if self.alive:
            worker = self.choices.of(self.alive)
            worker.die()
            self._bury_the_dead()
            members = [w for w in self.alive if w.name in self.group.members]
            if members and not self.choices.chance(0.3):
                self._form(members)

    def _kill_engine(self) -> None:
        running = [worker for worker in self.alive if worker.engine is not None and len(worker.engine)]
        if running:
            self.requests.excuse("failed")
            self.choices.of(running).kill_engine()

    def _drain(self) -> None:
        if self.alive:
            worker = self.choices.of(self.alive)
            if self.choices.chance(0.5):
                worker.end_grace()
            else:
                worker.drain()

    def _pass(self) -> None:
        self.broker.now_ms += 12_000

    def _cut(self) -> None:
        """Retention takes away records: of slots what is committed, of answers what nobody is about to read."""
        log = self.broker.log(REPLIES)
        unread = min((worker.reads_from for worker in self.alive), default=log.end)
        log.cut(min(log.first + self.choices.byte() * len(log.records) // 256, unread))
        for partition, (base, _) in self.group.committed.items():
            self.broker.log((SLOTS, partition)).cut(base)

    def _arrive_late(self) -> None:
        if self.broker.late:
            self.requests.write(self.broker.late.pop(self.choices.byte() % len(self.broker.late)))

    def _new_attempt(self) -> str:
        attempt = next(self._attempts)
        if attempt > MOST_ATTEMPTS:
            raise Restless(f"there are more than {MOST_ATTEMPTS} attempts")
        return f"a{attempt}"

    def _on_refused(self, batch: list[Send]) -> None:
        self.requests.excuse("failed")

    def _on_commit(self, offsets: Mapping[int, Commit]) -> None:
        self.requests.check_carried(f"{dict(offsets)} was committed")

    def _is_done(self) -> bool:
        return self.requests.are_handed_on and not self._unfinished()

    def _unfinished(self) -> dict[int, tuple[Commit, int]]:
        ends = {partition: self.broker.log((SLOTS, partition)).end for partition in self.group.committed}
        return {p: (commit, ends[p]) for p, commit in self.group.committed.items() if commit[0] != ends[p]}


def lived(data: bytes, *, only_owners: bool = False) -> World:
    """A world after all that may have happened to it, at rest and checked.

    `only_owners`: of one request in one slot, whose owners change and to which nothing else happens.
    """
    world = World(Choices(data), slots=1, questions=1) if only_owners else World(Choices(data))
    world.disturb(only_owners=only_owners)
    world.settle()
    world.check()
    return world
