"""Laws of fair queues, counters, quotas and portions, over arbitrary sequences of what may happen to them."""

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.admission.quotas import Quotas
from processors.admission.shares import Shares
from processors.policy import ClassPolicy, Policy, TenantPolicy
from processors.queueing.counters import COMPLETION_WEIGHT, PROMPT_WEIGHT, Counters
from processors.queueing.lane import LaneQueue
from processors.queueing.queues import FORGOTTEN_AT_ONCE, Queues
from processors.queueing.ticket import Ticket
from processors.routing.portions import Portion, Portions
from tests.unit.processors.tickets import a_ticket
from topics.fleet import Finished

LANES = ("fast", "slow", "bulk")
TENANTS = ("a", "b", "c", "d")

_adds = st.tuples(
    st.just("add"), st.sampled_from(LANES), st.sampled_from(TENANTS), st.integers(0, 50), st.integers(1, 900)
)
_serves = st.tuples(st.just("serve"), st.sampled_from(LANES))
_fills = st.tuples(st.just("fill"), st.sampled_from(LANES), st.integers(1, 4))
_cancels = st.tuples(st.just("cancel"), st.integers(0, 200))
_ends = st.tuples(st.just("end"), st.sampled_from(LANES), st.sampled_from(TENANTS), st.integers(-50, 3000))
_elsewhere = st.tuples(st.just("elsewhere"), st.sampled_from(LANES), st.sampled_from(TENANTS), st.integers(0, 10**6))
_expiries = st.tuples(st.just("expire"), st.integers(0, 60))
EVENTS = st.lists(st.one_of(_adds, _adds, _adds, _serves, _fills, _cancels, _ends, _elsewhere, _expiries), max_size=120)

LAWS = settings(max_examples=150, deadline=None)


class World:
    """Does to queues what a scheduler may, and remembers it."""

    def __init__(self) -> None:
        weights = {"a": TenantPolicy(weight=4.0), "*": TenantPolicy(weight=0.5)}
        self.queues = Queues(dict.fromkeys(LANES, 10), weights, yielding=["bulk"])
        self.added: list[Ticket] = []
        self.served: list[Ticket] = []
        self.gone: list[Ticket] = []

    def run(self, events: list[Any]) -> "World":
        for event in events:
            getattr(self, f"_{event[0]}")(*event[1:])
        return self

    def waiting(self, lane: str) -> list[Ticket]:
        return [ticket for ticket in self.added if ticket.is_waiting and ticket.latency_class == lane]

    def _add(self, lane: str, tenant: str, due_ms: int, tokens: int) -> None:
        number = len(self.added)
        self.added.append(
            a_ticket(
                f"r{number}",
                tenant,
                latency_class=lane,
                due_at_ms=due_ms,
                deadline_at_ms=due_ms + number % 7,
                prompt_tokens=tokens,
            )
        )
        self.queues.add(self.added[-1])

    def _serve(self, lane: str) -> None:
        head = self.queues.lanes[lane].head()
        if head is not None:
            self.queues.leave(head)
            self.served.append(head)

    def _fill(self, lane: str, size: int) -> None:
        """As a batch is filled: the lane says who follows, and all are counted together."""
        queue, taken = self.queues.lanes[lane], list[Ticket]()
        head = queue.head()
        while head is not None and len(taken) < size:
            taken.append(head)
            head = queue.serve(head)
            assert head is queue.head()
        self.queues.left(taken)
        self.served += taken

    def _cancel(self, index: int) -> None:
        ticket = self.added[index % len(self.added)] if self.added else None
        if ticket is not None and ticket.is_waiting:
            self.queues.leave(ticket, is_served=False)
            self.gone.append(ticket)

    def _end(self, lane: str, tenant: str, cost: int) -> None:
        self.queues.counters[lane].charge(tenant, cost)

    def _elsewhere(self, lane: str, tenant: str, cost: int) -> None:
        self.queues.counters[lane].charge_elsewhere(tenant, cost)

    def _expire(self, now_ms: int) -> None:
        self.gone += self.queues.overdue(now_ms)


@LAWS
@given(EVENTS)
def test_every_ticket_waits_was_served_or_is_gone(events: list[Any]) -> None:
    world = World().run(events)
    left = Counter(ticket.id for ticket in (*world.served, *world.gone))
    assert set(left.values()) <= {1}
    assert len(world.queues) == len(world.added) - len(left) == sum(map(len, world.queues.lanes.values()))
    assert len(world.queues._by_key) == len(world.queues) + len(world.queues._left)


@LAWS
@given(EVENTS)
def test_those_who_left_are_forgotten_as_time_passes(events: list[Any]) -> None:
    queues = World().run(events).queues
    for _ in range(1 + len(queues._left) // FORGOTTEN_AT_ONCE):
        assert list(queues.overdue(-1)) == []
    assert (len(queues._by_key), len(queues._left)) == (len(queues), 0)
    assert queues._deadlines.held <= 2 * len(queues) + 64


@LAWS
@given(EVENTS)
def test_a_lane_that_is_served_often_enough_is_empty(events: list[Any]) -> None:
    world = World().run(events)
    for name, lane in world.queues.lanes.items():
        world.run([("serve", name)] * len(lane))
        assert (len(lane), lane.head(), lane.earliest_due_ms()) == (0, None, None)


@LAWS
@given(EVENTS, st.sampled_from(LANES))
def test_the_head_is_of_a_tenant_that_had_least_and_is_due_first_of_its_own(events: list[Any], name: str) -> None:
    world = World().run(events)
    head, waiting = world.queues.lanes[name].head(), world.waiting(name)
    assert (head is None) == (not waiting)
    if head is not None:
        counters = world.queues.counters[name]
        assert counters.value(head.tenant) == min(counters.value(ticket.tenant) for ticket in waiting)
        assert head.due_at_ms == min(ticket.due_at_ms for ticket in waiting if ticket.tenant == head.tenant)


@LAWS
@given(EVENTS, st.sampled_from(LANES))
def test_a_lane_says_truly_what_waits(events: list[Any], name: str) -> None:
    world = World().run(events)
    lane, waiting = world.queues.lanes[name], world.waiting(name)
    assert lane.earliest_due_ms() == min((ticket.due_at_ms for ticket in waiting), default=None)
    assert {tenant: lane.backlog(tenant) for tenant in TENANTS} == {
        tenant: sum(ticket.tenant == tenant for ticket in waiting) for tenant in TENANTS
    }


@LAWS
@given(EVENTS)
def test_the_next_deadline_is_the_earliest_of_all_that_wait(events: list[Any]) -> None:
    world = World().run(events)
    waiting = [ticket.deadline_at_ms for name in LANES for ticket in world.waiting(name)]
    assert world.queues.next_deadline_ms() == min(waiting, default=None)


@LAWS
@given(EVENTS)
def test_memory_is_bounded_by_what_waits(events: list[Any]) -> None:
    world = World().run(events)
    for lane in world.queues.lanes.values():
        assert lane.held <= 2 * len(lane)
        assert lane.listed <= 4 * len(lane) + 128
    assert world.queues._deadlines.held <= 2 * len(world.queues) + 64
    for counters in world.queues.counters.values():
        assert counters.held <= 2 * counters.waiting + 64
        assert len(counters) <= len(TENANTS)


@LAWS
@given(EVENTS)
def test_the_same_events_serve_the_same_tickets(events: list[Any]) -> None:
    once, again = World().run(events), World().run(events)
    assert [ticket.id for ticket in once.served] == [ticket.id for ticket in again.served]


@LAWS
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 500), st.integers(0, 400)), min_size=40, max_size=200),
    st.integers(1, 12),
    st.sampled_from([(1.0, 1.0), (4.0, 1.0), (0.5, 3.0)]),
)
def test_service_of_two_tenants_that_both_wait_differs_by_no_more_than_the_bound(
    requests: list[tuple[str, int, int]], capacity: int, weights: tuple[float, float]
) -> None:
    """Service is prompts at dispatch and answers at their end, at most `capacity` requests at a time.

    While both wait, what one has had per weight is ahead of the other by no more than the longest prompt costs, or what
    all tokens that the engine holds at a time do, whichever is more, over the smaller weight. Between any two moments
    it therefore differs by no more than twice that.

    Source: Sheng et al., Fairness in Serving Large Language Models, OSDI 2024: lemma 4.3, max(w_p L_input, w_q M), and
    theorem 4.4, twice that.
    """
    by_tenant = {"a": weights[0], "b": weights[1]}
    lane = LaneQueue(10_000, counters := Counters(by_tenant))
    answers: dict[str, int] = {}
    for number, (tenant, prompt, answer) in enumerate(requests):
        answers[f"r{number}"] = answer
        lane.add(a_ticket(f"r{number}", tenant, prompt_tokens=prompt))
    running: list[Ticket] = []
    service = dict.fromkeys(by_tenant, 0.0)
    ahead, held = [0.0], 0
    while lane.backlog("a") and lane.backlog("b"):
        head = lane.head()
        assert head is not None
        lane.leave(head)
        running.append(head)
        service[head.tenant] += PROMPT_WEIGHT * head.demand.prompt_tokens / by_tenant[head.tenant]
        ahead.append(service["a"] - service["b"])
        held = max(held, sum(ticket.demand.prompt_tokens + answers[ticket.id] for ticket in running))
        if len(running) == capacity:
            ended = running.pop(0)
            cost = COMPLETION_WEIGHT * answers[ended.id]
            counters.charge(ended.tenant, cost)
            service[ended.tenant] += cost / by_tenant[ended.tenant]
            ahead.append(service["a"] - service["b"])
    longest = max(prompt for _, prompt, _ in requests)
    bound = max(PROMPT_WEIGHT * longest, COMPLETION_WEIGHT * held) / min(weights)
    assert max(map(abs, ahead)) <= bound + 1e-6
    assert max(ahead) - min(ahead) <= 2 * bound + 1e-6


@LAWS
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900), st.integers(0, 2000), st.booleans()), max_size=80),
    st.integers(1, 3),
)
def test_no_more_requests_at_a_time_than_allowed_and_none_is_counted_for_ever(
    steps: list[tuple[int, int, int, bool]], allowed: int
) -> None:
    quotas = Quotas({}, TenantPolicy(concurrent=allowed, requests_per_s=5, tokens_per_min=6000))
    now_s, present = 1_800_000_000.0, Counter[str]()
    held: list[tuple[str, str]] = []
    for number, (tenant, tokens, ms, ends) in enumerate(steps):
        now_s += ms / 1000
        name, origin = f"t{tenant}", f"r{number}"
        if quotas.take(name, origin, tokens, deadline_s=now_s + 3600, now_s=now_s) is None:
            held.append((name, origin))
            present[name] += 1
        assert present[name] <= allowed
        if ends and held:
            who, ended = held.pop(0)
            present[who] -= 1
            quotas.settle(ended, used_tokens=tokens)
    assert len(quotas) == len(held)


@LAWS
@given(st.lists(st.tuples(st.sampled_from(TENANTS), st.floats(0, 0.5)), min_size=1, max_size=100), st.floats(0.1, 500))
def test_shares_are_within_the_capacity_and_leave_none_of_it(
    arrivals: list[tuple[str, float]], capacity: float
) -> None:
    shares, now_s = Shares({"a": 4.0}), 0.0
    for tenant, pause_s in arrivals:
        now_s += pause_s
        shares.observe(tenant, now_s)
    mine = {tenant: shares.of(tenant, capacity, now_s) for tenant, _ in arrivals}
    assert all(0.0 < share <= capacity for share in mine.values())
    assert sum(mine.values()) >= capacity * (1 - 1e-9)


@LAWS
@given(st.lists(st.floats(0, 1), max_size=4), st.integers(0, 10**6), st.integers(0, 10**6))
def test_portions_that_lie_side_by_side_add_up_to_the_whole(cuts: list[float], amount: int, turn: int) -> None:
    edges = [0.0, *sorted(cuts), 1.0]
    parts = [Portion(low, high).of(amount, turn) for low, high in pairwise(edges)]
    assert sum(parts) == amount
    assert min(parts) >= 0


_finished = st.tuples(
    st.sampled_from(TENANTS), st.integers(0, 5), st.sampled_from(LANES), st.integers(0, 3), st.integers(0, 900)
)


@LAWS
@given(st.lists(_finished, max_size=60), st.integers(1, 4))
def test_all_shards_that_hear_the_same_divide_the_same_whole(
    heard: list[tuple[str, int, str, int, int]], shards: int
) -> None:
    classes = {name: ClassPolicy(priority=i, deadline_ms=1000, queue_limit=10) for i, name in enumerate(LANES)}
    policy = Policy(model="m", classes=classes, stable=None, longest_deadline_ms=1000, shards=shards)
    portions = [Portions(policy, shard) for shard in range(shards)]
    for number, (tenant, shard, name, backlog, tokens) in enumerate(heard):
        finished = Finished(
            origin=f"x/{shard}/{number}",
            batch_id="b",
            prompt_tokens=tokens,
            completion_tokens=tokens // 2,
            service_us=1,
            outcome="completed",
            tenant=tenant,
            latency_class=name,
            backlog=backlog,
        )
        for each in portions:
            each.observe(finished, now_s=number / 10)
    now = [each.at(len(heard) / 10) for each in portions]
    assert [portion.high for portion in now[:-1]] == [portion.low for portion in now[1:]]
    assert (now[0].low, now[-1].high) == (0.0, 1.0)
    assert all(portion.ratio > 0 for portion in now)
