"""Laws of continuous batching, over any order of events."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        self.refused = 0
        self.dropped: list[Ticket] = []
        self.story: list[Any] = []

    def run(self, events: list[Any]) -> "World":
        for event in events:
            getattr(self, f"_{event[0]}")(*event[1:])
            self._decide()
        return self

    def _arrive(self, name: str, prompt: int, sequences: int, tenant: str, prefixes: list[int]) -> None:
        desk = self.desk
        ticket = desk.ticket(
            name, prompt=prompt, sequences=sequences, answer=64, tenant=tenant, prefixes=tuple(prefixes)
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
            self.desk.finish(self.sent[index % len(self.sent)], tokens=tokens, token_s=token_ms / 1000)

    def _pass(self, ms: int) -> None:
        self.desk.now_s += ms / 1000

    def _decide(self) -> None:
        decision = self.desk.decide()
        self.dropped += [dropped.ticket for dropped in decision.dropped]
        for batch in decision.batches:
            for part in batch.parts:
                self.sent.append(part.ticket)
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


@LAWS
@given(EVENTS)
def test_within_a_lane_and_a_tenant_the_earliest_due_goes_first(events: list[Any]) -> None:
    world = World().run(events)
    order: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for story in world.story:
        for ticket_id in [part[0] for _, parts in story[0] for part in parts]:
            ticket = next(ticket for ticket in world.sent if ticket.id == ticket_id)
            order.setdefault((ticket.latency_class, ticket.tenant), []).append((ticket.due_at_ms, ticket.at.offset))
    assert all(dues == sorted(dues) for dues in order.values())


@LAWS
@given(EVENTS)
def test_memory_is_bounded_by_what_waits_and_what_is_out(events: list[Any]) -> None:
    world = World().run(events)
    controller = world.desk.controller
    assert len(controller._residents) <= len(world.sent)
    assert all(len(controller._prefixes.of(worker)) <= 2 * MIRRORED_PROMPTS * MAX_BLOCKS for worker in WORKERS)
    assert len(controller._models) <= 4
