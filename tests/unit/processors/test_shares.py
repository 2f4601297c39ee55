"""Max-min shares of tenants by their demand."""

import pytest

from processors.admission.shares import DEMAND_TAU_S, Shares


def with_demand(rates: dict[str, int], *, weights: dict[str, float] | None = None, seconds: float = 50.0) -> Shares:
    """Shares after every tenant has sent so many requests per second for a long time."""
    shares = Shares(weights or {})
    sent = sorted((i / rate, name) for name, rate in rates.items() for i in range(int(rate * seconds)))
    for at_s, name in sent:
        shares.observe(name, at_s)
    return shares


def test_a_tenant_alone_has_all() -> None:
    assert with_demand({"a": 10}).of("a", 40.0, 50.0) == pytest.approx(40.0)


def test_who_asks_for_more_than_its_share_gets_what_the_others_leave() -> None:
    shares = with_demand({"heavy": 100, "light": 5})
    assert shares.of("heavy", 40.0, 50.0) == pytest.approx(35.0, rel=0.1)


def test_who_asks_for_less_can_count_on_a_fair_share() -> None:
    shares = with_demand({"heavy": 100, "light": 5})
    assert shares.of("light", 40.0, 50.0) >= 20.0


def test_shares_of_tenants_that_all_ask_for_too_much_are_as_their_weights() -> None:
    shares = with_demand({"a": 100, "b": 100}, weights={"a": 4.0})
    assert shares.of("a", 40.0, 50.0) == pytest.approx(32.0)
    assert shares.of("b", 40.0, 50.0) == pytest.approx(8.0)


def test_capacity_that_nobody_asks_for_is_anybodys() -> None:
    shares = with_demand({"a": 10, "b": 10})
    assert shares.of("a", 100.0, 50.0) == pytest.approx(90.0, rel=0.05)


def test_a_newcomer_can_count_on_a_fair_share_at_once() -> None:
    assert with_demand({"a": 100}).of("new", 40.0, 50.0) == pytest.approx(40.0)


def test_demand_is_forgotten() -> None:
    shares = with_demand({"a": 100, "b": 100})
    shares.of("a", 40.0, 50.0 + 20 * DEMAND_TAU_S)
    assert len(shares) == 0


def test_shares_are_kept_for_a_tenth_of_a_second() -> None:
    shares = with_demand({"a": 100})
    before = shares.of("a", 40.0, 50.0)
    for _ in range(1000):
        shares.observe("b", 50.05)
    assert shares.of("a", 40.0, 50.05) == before
    assert shares.of("a", 40.0, 50.11) < before
