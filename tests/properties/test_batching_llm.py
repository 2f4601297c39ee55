"""Laws of continuous batching, over any order of events."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.batching.by_deployment import DEPLOYMENTS_KEPT
from processors.batching.controller import Decision
from processors.batching.prefix_mirror import MIRRORED_PROMPTS
from processors.queueing.ticket import Ticket
from tests.unit.batching.builders import SENDER, Desk, a_sample
from topics.fleet import Credits, Slot
from topics.prefixes import MAX_BLOCKS

WORKERS = ("w0", "w1")
_arrive = st.tuples(
    st.just("arrive"),
    st.sampled_from(("interactive", "batchy", "bulk")),
    st.integers(1, 5000),
    st.integers(1, 3),
    st.sampled_from("ab"),
    st.lists(st.integers(1, 6), max_size=3),
    st.integers(1, 6000),
)
_beat = st.tuples(
    st.just("beat"), st.sampled_from(WORKERS), st.integers(0, 40), st.integers(0, 60_000), st.integers(0, 3000)
)
_finish = st.tuples(st.just("finish"), st.integers(0, 60), st.integers(1, 600), st.integers(5, 90))
_pass = st.tuples(st.just("pass"), st.integers(1, 900))
EVENTS = st.lists(st.one_of(_arrive, _arrive, _arrive, _beat, _beat, _finish, _pass), max_size=60)
LAWS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class World:
    """Drives a controller by events, and keeps the credit that each worker has left."""

    def __init__(self, *, learned: int = 240) -> None:
        self.desk = Desk(learned=learned)
        self.credit = {"w0": (256, 400_000)}
        self.was_empty: dict[str, bool] = {"w0": True}
        self.sent: list[Ticket] = []
        self.seqs = dict.fromkeys(WORKERS, 0)
        self.queued: list[Ticket] = []
        self.out: set[str] = set()
        self.overtaken: list[tuple[Ticket, Ticket]] = []
        self.refused = 0
        self.dropped: list[Ticket] = []
        self.story: list[Any] = []

    def run(self, events: list[Any]) -> "World":
        for event in events:
            getattr(self, f"_{event[0]}")(*event[1:])
            self._decide()
        return self

    def _arrive(self, name: str, prompt: int, sequences: int, tenant: str, prefixes: list[int], target_ms: int) -> None:
        desk = self.desk
        ticket = desk.ticket(
            name,
            prompt=prompt,
            sequences=sequences,
            answer=64,
            tenant=tenant,
            prefixes=tuple(prefixes),
            target_s=target_ms / 1000,
        )
        refused = desk.controller.refuse(ticket, now_s=desk.now_s) if ticket.may_be_shed else None
        if refused is not None:
            assert refused.retry_after_s > 0
            self.refused += 1
            return
        self.queued.append(ticket)
        desk.queues.add(ticket)
        desk.controller.on_queued(ticket, now_s=desk.now_s)

    def _beat(self, worker: str, free: int, kv: int, backlog: int) -> None:
        self.credit[worker] = (free, kv)
        self.was_empty[worker] = False
        self.desk.beat(
            worker,
            running=256 - free,
            credits=Credits(free_sequences=free, free_kv_tokens=kv, prefill_backlog_tokens=backlog),
            slots=[Slot(partition=int(worker[1:]), term=0, seen={SENDER: self.seqs[worker]})],
            samples=[a_sample(free)],
        )

    def _finish(self, index: int, tokens: int, token_ms: int) -> None:
        if self.sent:
            self.end(self.sent[index % len(self.sent)], tokens=tokens, token_s=token_ms / 1000)

    def end(self, ticket: Ticket, *, tokens: int = 100, token_s: float = 0.02) -> None:
        """What a worker was given has ended; that may be told more than once."""
        self.out.discard(ticket.origin)
        self.desk.finish(ticket, tokens=tokens, token_s=token_s)

    def _pass(self, ms: int) -> None:
        self.desk.now_s += ms / 1000

    def _decide(self) -> None:
        decision = self.desk.decide()
        self.dropped += [dropped.ticket for dropped in decision.dropped]
        for batch in decision.batches:
            together = [part.ticket for part in batch.parts]
            for index, ticket in enumerate(together):
                behind = [other for other in self.queued if other.is_waiting] + together[index:]
                self.overtaken += [(ticket, other) for other in behind if _goes_before(other, ticket)]
            for part in batch.parts:
                self.sent.append(part.ticket)
                self.out.add(part.ticket.origin)
                self.seqs[batch.worker.name] += 1
                sequences, kv = self.credit[batch.worker.name]
                demand = part.ticket.demand
                self.credit[batch.worker.name] = (sequences - demand.sequences, kv - demand.kv_tokens)
                self._check_credit(batch.worker.name, sequences)
        self.story.append(_told(decision))

    def _check_credit(self, worker: str, sequences_before: int) -> None:
        """Within the credit, but for the first request of a worker that had nothing to do."""
        if self.was_empty[worker]:
            assert sequences_before > 0
        else:
            assert min(self.credit[worker]) >= 0
        self.was_empty[worker] = False


def _goes_before(one: Ticket, other: Ticket) -> bool:
    """Whether a request, of the same lane and tenant, is due before another."""
    return (one.latency_class, one.tenant) == (other.latency_class, other.tenant) and one.due_at_ms < other.due_at_ms


def _told(decision: Decision) -> Any:
    return (
        [
            (b.worker.name, [(p.ticket.id, p.placed, p.why.reason, p.why.detail) for p in b.parts])
            for b in decision.batches
        ],
        [(d.ticket.id, d.why.detail) for d in decision.dropped],
        decision.wake_at_s,
    )


@LAWS
@given(EVENTS)
def test_no_worker_is_given_more_than_its_credit(events: list[Any]) -> None:
    world = World().run(events)
    assert len(world.sent) + len(world.dropped) + len(world.desk.queues) == len(world.queued)


@LAWS
@given(EVENTS)
def test_nothing_is_forgotten_and_nothing_is_decided_twice(events: list[Any]) -> None:
    world = World().run(events)
    decided = [ticket.id for ticket in [*world.sent, *world.dropped]]
    assert len(decided) == len(set(decided))
    waiting = [ticket.id for ticket in world.queued if ticket.is_waiting]
    assert sorted([*decided, *waiting]) == sorted(ticket.id for ticket in world.queued)


@LAWS
@given(EVENTS)
def test_an_empty_fleet_takes_whatever_waits_first(events: list[Any]) -> None:
    """No request is too large for a worker with nothing to do, whatever happened before: nothing starves."""
    world = World().run(events)
    for _ in range(200):
        waits = len(world.desk.queues)
        if not waits:
            break
        world.desk.now_s += 0.2
        for worker in WORKERS:
            slot = Slot(partition=int(worker[1:]), term=0, seen={SENDER: world.seqs[worker]})
            world.credit[worker], world.was_empty[worker] = (256, 400_000), True
            world.desk.beat(worker, slots=[slot])
        world._decide()
        assert len(world.desk.queues) < waits
    assert not len(world.desk.queues)


@LAWS
@given(EVENTS)
def test_what_may_not_be_shed_is_never_dropped(events: list[Any]) -> None:
    assert all(ticket.may_be_shed for ticket in World().run(events).dropped)


@LAWS
@given(EVENTS)
def test_before_anything_is_learned_nobody_is_turned_away(events: list[Any]) -> None:
    world = World(learned=0)
    world.desk.beat()
    world.run([event for event in events if event[0] != "beat"])
    assert not world.refused
    assert not world.dropped


@LAWS
@given(EVENTS)
def test_the_same_events_give_the_same_decisions(events: list[Any]) -> None:
    assert World().run(events).story == World().run(events).story


_bursts = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6000)), min_size=2, max_size=20)


@LAWS
@given(_bursts, EVENTS)
def test_nobody_of_a_lane_and_a_tenant_waits_while_one_who_is_due_later_goes(
    burst: list[tuple[str, int]], events: list[Any]
) -> None:
    """Whatever order they came in: more of them come at once than there is room for."""
    world = World()
    world._beat("w0", 3, 60_000, 0)
    for tenant, target_ms in burst:
        world._arrive("batchy", 100, 1, tenant, [], target_ms)
    world._decide()
    assert world.run(events).overtaken == []
    assert world.sent


@LAWS
@given(EVENTS)
def test_memory_is_bounded_by_what_waits_and_what_is_out(events: list[Any]) -> None:
    world = World().run(events)
    controller = world.desk.controller
    assert len(controller._residents) == len(world.out)
    assert controller._residents.slots <= len(WORKERS)
    assert all(len(controller._prefixes.of(worker)) <= 2 * MIRRORED_PROMPTS * MAX_BLOCKS for worker in WORKERS)
    for ticket in world.sent:
        world.end(ticket)
    assert len(controller._residents) == 0
    assert not any(any(controller._residents.of(worker)) for worker in world.desk.fleet.workers.values())


@LAWS
@given(st.lists(st.integers(0, 30), max_size=60))
def test_models_of_deployments_that_came_and_went_are_forgotten(names: list[int]) -> None:
    desk = Desk()
    for name in names:
        desk.beat(deployment=f"m@v{name}", samples=[a_sample(name)])
        desk.decide()
    assert len(desk.controller._models) <= DEPLOYMENTS_KEPT
