"""The take-over protocol on the worker's own code: random owners, stalls, crashes and refused records lose nothing.

A log of two slots and one of answers; workers are generators that may stall or die at every `yield`. At the end every
slot gets one undisturbed owner, while former ones still wake up. Then every request has ended exactly once, with all
its tokens from the attempt that ended it.
"""

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engines.protocol import Output
from pipeline.worker.attempts import Attempt
from pipeline.worker.slot import SlotOwner, Taken, starting_mode
from tests.unit.worker.builders import a_dispatch, a_usage
from topics import names
from topics.dispatches import Dispatch, Owner
from topics.reader import Reader, Verdict
from topics.responses import Delta, Response

TOKENS = 4
REQUESTS = 3
Step = Iterator[None]


class World:
    """What survives the workers: the logs, the commits, and who the group believes to be the owner."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.answers: list[Response] = []
        self.slots: dict[int, list[Any]] = {0: [], 1: []}
        self.committed: dict[int, tuple[int, str]] = {0: (0, ""), 1: (0, "")}
        self.generation = {0: 0, 1: 0}
        self.hops = [0] * REQUESTS
        self.names = iter(range(10**9))

    def dispatch(self, request: int) -> None:
        origin = names.origin_of("inference.requests.m.interactive", 0, request)
        record = a_dispatch(id=f"r{request}", origin=origin, hop=self.hops[request])
        self.slots[self.rng.randrange(2)].append(record)

    def worker(self, slot: int) -> Step:
        """One owner of a slot, as the worker's shell does it."""
        self.generation[slot] += 1
        generation, run = self.generation[slot], f"run{next(self.names)}"
        base, metadata = self.committed[slot]
        owner = SlotOwner(partition=slot, run=run, generation=generation, base=base, metadata=metadata)
        yield
        log = self.slots[slot]
        log.append(Owner(worker=run, run=run))
        term = len(log) - 1
        yield
        if self.generation[slot] != generation:
            return
        yield
        runs = [self.run(owner, taken) for taken in owner.owned(term)]
        position = base
        while True:
            if position < len(log):
                taken = owner.on_record(log[position], offset=position, at_ms=0)
                position += 1
                runs += [self.run(owner, taken)] if taken is not None else []
            if not owner.is_owned:
                return
            if runs:
                chosen = self.rng.randrange(len(runs))
                if next(runs[chosen], "ended") == "ended":
                    runs.pop(chosen)
            yield
            if owner.tracker.is_dirty:
                if self.generation[slot] != generation:
                    return
                self.committed[slot] = owner.tracker.commit()

    def run(self, owner: SlotOwner, taken: Taken) -> Step:
        """One dispatch to its acknowledged end; records may be refused, then it is run again."""
        assert isinstance(taken.record, Dispatch)
        may_have_started = taken.may_have_started
        while not (yield from self.attempt(owner, taken, may_have_started)):
            may_have_started = True
        owner.tracker.finish(taken.offset)

    def attempt(self, owner: SlotOwner, taken: Taken, may_have_started: bool) -> Any:
        assert isinstance(taken.record, Dispatch)
        attempt = Attempt(
            name=f"a{next(self.names)}",
            dispatch=taken.record,
            streams=True,
            mode=starting_mode(may_have_started=may_have_started),
            address=f"slots/{taken.partition}/{taken.offset}",
            term=owner.term,
            now_us=1,
        )
        self.answers.append(attempt.started())
        yield
        for index in range(TOKENS):
            is_last = index == TOKENS - 1
            output = Output(
                key=attempt.name,
                text="x",
                token_ids=[index],
                finish_reason="length" if is_last else None,
                usage=a_usage() if is_last else None,
            )
            record = attempt.on_output(output, 2)
            assert record is not None
            if self.rng.random() < 0.02:
                return False
            self.answers.append(record)
            yield
            if is_last:
                self.answers.append(attempt.end(output, 3))
        return True


def _disturb(world: World, live: list[Step]) -> None:
    rng = world.rng
    for _ in range(rng.randrange(20, 200)):
        chance = rng.random()
        if chance < 0.06:
            live.append(world.worker(rng.randrange(2)))
            next(live[-1])
        elif chance < 0.07:
            world.dispatch(rng.randrange(REQUESTS))
        elif chance < 0.08:
            request = rng.randrange(REQUESTS)
            world.hops[request] += 1
            world.dispatch(request)
        if live:
            _advance(live, rng)


def _advance(live: list[Step], rng: random.Random) -> None:
    chosen = rng.randrange(len(live))
    if rng.random() < 0.03:
        live.pop(chosen)
        return
    for _ in range(rng.choice([1, 1, 2, 5, 12])):
        if next(live[chosen], "ended") == "ended":
            live.pop(chosen)
            return


def _settle(world: World, zombies: list[Step]) -> None:
    for slot in (0, 1):
        last = world.worker(slot)
        for _ in range(800):
            if next(last, "ended") == "ended":
                # A former owner's marker came after ours, without a proof: the group still names us, so we claim again.
                last = world.worker(slot)
            if zombies and world.rng.random() < 0.2:
                zombie = world.rng.choice(zombies)
                if next(zombie, "ended") == "ended":
                    zombies.remove(zombie)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**63))
def test_every_request_ends_once_and_whole_under_any_interleaving(seed: int) -> None:
    world = World(random.Random(seed))
    for request in range(REQUESTS):
        world.dispatch(request)
    zombies: list[Step] = []
    _disturb(world, zombies)
    _settle(world, zombies)
    for request in range(REQUESTS):
        reader, tokens = _read(world.answers, f"r{request}")
        assert reader.has_ended
        assert tokens == list(range(TOKENS))


def _read(answers: list[Response], request_id: str) -> tuple[Reader, list[int]]:
    reader = Reader()
    tokens: list[int] = []
    for record in answers:
        if record.id != request_id:
            continue
        verdict = reader.feed(record)
        if verdict is Verdict.RESTARTED:
            tokens = []
        elif verdict is Verdict.DELIVERED and isinstance(record, Delta):
            tokens += record.token_ids
    return reader, tokens
