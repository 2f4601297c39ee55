"""Lanes: whose turn it is, what is due first, and what is remembered of whom."""

from processors.policy import TenantPolicy
from processors.queueing.counters import MOST_AHEAD_TOKENS, Counters
from processors.queueing.lane import LaneQueue
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from tests.unit.processors.tickets import a_ticket


def drain(lane: LaneQueue) -> list[Ticket]:
    """Everything that waits, in the order of dispatch."""
    order = []
    while (head := lane.head()) is not None:
        lane.leave(head)
        order.append(head)
    return order


def a_lane(*tickets: Ticket, counters: Counters | None = None) -> LaneQueue:
    lane = LaneQueue(1000, counters)
    for ticket in tickets:
        lane.add(ticket)
    return lane


def tenants(tickets: list[Ticket]) -> str:
    return "".join(ticket.tenant for ticket in tickets)


def test_a_tenant_is_served_what_is_due_first() -> None:
    lane = a_lane(a_ticket("late", due_at_ms=30), a_ticket("soon", due_at_ms=10), a_ticket("next", due_at_ms=20))
    assert [ticket.id for ticket in drain(lane)] == ["soon", "next", "late"]


def test_a_deadline_does_not_change_the_order() -> None:
    lane = a_lane(a_ticket("first", due_at_ms=10, deadline_at_ms=99), a_ticket("then", due_at_ms=20, deadline_at_ms=21))
    assert [ticket.id for ticket in drain(lane)] == ["first", "then"]


def test_equal_tenants_take_turns_whatever_is_due() -> None:
    lane = a_lane(*(a_ticket(f"a{i}", "a", due_at_ms=i) for i in range(3)))
    for i in range(3):
        lane.add(a_ticket(f"b{i}", "b", due_at_ms=1000 + i))
    assert tenants(drain(lane)) == "ababab"


def test_a_turn_costs_what_the_prompt_has() -> None:
    lane = a_lane(*(a_ticket(f"a{i}", "a", prompt_tokens=300) for i in range(2)))
    for i in range(6):
        lane.add(a_ticket(f"b{i}", "b", prompt_tokens=100))
    assert tenants(drain(lane)) == "abbbabbb"


def test_weights_divide_the_cost() -> None:
    counters = Counters({"a": 3.0})
    lane = a_lane(*(a_ticket(f"a{i}", "a") for i in range(6)), counters=counters)
    for i in range(2):
        lane.add(a_ticket(f"b{i}", "b"))
    assert sorted(tenants(drain(lane))[:4]) == list("aaab")


def test_answers_are_charged_when_they_are_known() -> None:
    counters = Counters()
    lane = a_lane(*(a_ticket(f"{t}{i}", t) for i in range(3) for t in "ab"), counters=counters)
    counters.charge("a", 1000)
    assert tenants(drain(lane)) == "bbbaaa"


def test_a_refund_is_taken_off_what_follows() -> None:
    counters = Counters()
    counters.charge("a", 100)
    counters.charge("a", -60)
    assert counters.value("a") == 100
    counters.charge("a", 70)
    assert counters.value("a") == 110


def test_who_comes_back_has_saved_nothing_up() -> None:
    counters = Counters()
    lane = a_lane(*(a_ticket(f"a{i}", "a") for i in range(20)), counters=counters)
    for _ in range(10):
        head = lane.head()
        assert head is not None
        lane.leave(head)
    for i in range(5):
        lane.add(a_ticket(f"b{i}", "b"))
    assert tenants(drain(lane))[:6] in ("ababab", "bababa")


def test_who_comes_when_nobody_waits_begins_where_the_last_one_ended() -> None:
    counters = Counters()
    drain(a_lane(*(a_ticket(f"a{i}", "a") for i in range(5)), counters=counters))
    assert counters.value("b") == counters.value("a") == 500


def test_what_was_returned_is_not_charged_again() -> None:
    counters = Counters()
    drain(a_lane(a_ticket("a0", "a", hop=1), counters=counters))
    assert counters.value("a") == 0


def test_what_is_not_served_is_not_charged() -> None:
    counters = Counters()
    ticket = a_ticket("a0", "a")
    a_lane(ticket, counters=counters).leave(ticket, is_served=False)
    assert counters.value("a") == 0


def test_service_elsewhere_counts_up_to_a_bound() -> None:
    counters = Counters({"b": 4.0})
    counters.charge_elsewhere("a", 1000)
    counters.charge_elsewhere("b", 10_000_000)
    assert (counters.value("a"), counters.value("b")) == (1000, MOST_AHEAD_TOKENS)


def test_counters_of_tenants_that_are_not_ahead_are_forgotten() -> None:
    counters = Counters(limit=100)
    lane = LaneQueue(1000, counters)
    for i in range(5000):
        drain_one(lane, a_ticket("r", f"t{i}"))
    assert len(counters) <= 200


def test_counters_of_tenants_that_are_ahead_are_bounded() -> None:
    counters = Counters(limit=100)
    for i in range(5000):
        counters.charge(f"t{i}", 1000 + i)
    assert len(counters) <= 100
    assert counters.value("t4999") == 5999


def drain_one(lane: LaneQueue, ticket: Ticket) -> None:
    lane.add(ticket)
    lane.leave(ticket)


def test_a_lane_knows_backlogs_and_the_earliest_due_time() -> None:
    lane = a_lane(
        a_ticket("a0", "a", due_at_ms=50), a_ticket("b0", "b", due_at_ms=20), a_ticket("a1", "a", due_at_ms=9)
    )
    assert (lane.backlog("a"), lane.backlog("b"), lane.backlog("c")) == (2, 1, 0)
    dues = []
    while (head := lane.head()) is not None:
        dues.append(lane.earliest_due_ms())
        lane.leave(head)
    assert dues == [9, 20, 50]
    assert lane.earliest_due_ms() is None


def test_classes_share_their_counters_and_those_that_yield_do_not() -> None:
    queues = Queues({"fast": 10, "slow": 10, "bulk": 10}, {"*": TenantPolicy(weight=2.0)}, yielding=["bulk"])
    for name in ("fast", "bulk"):
        ticket = a_ticket(name, "a", latency_class=name)
        queues.add(ticket)
        queues.leave(ticket)
    queues.counters["fast"].charge("a", 100)
    values = {name: counters.value("a") for name, counters in queues.counters.items()}
    assert values == {"fast": 100, "slow": 100, "bulk": 50}


def test_tickets_expire_by_deadline_across_lanes_and_tenants() -> None:
    queues = Queues({"fast": 10, "slow": 10})
    queues.add(a_ticket("r1", "a", latency_class="fast", deadline_at_ms=300))
    queues.add(a_ticket("r2", "b", latency_class="slow", deadline_at_ms=100))
    queues.add(a_ticket("r3", "a", latency_class="fast", deadline_at_ms=200))
    assert queues.next_deadline_ms() == 100
    assert [ticket.id for ticket in queues.overdue(200)] == ["r2", "r3"]
    assert queues.next_deadline_ms() == 300
