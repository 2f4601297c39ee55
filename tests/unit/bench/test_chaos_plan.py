"""Faults are drawn by a seed: all that were asked for, in another order for another seed."""

from collections import Counter

import pytest

from tests.bench.chaos.plan import FULL, Fault, counts_of, draw


def test_every_fault_that_was_asked_for_is_drawn() -> None:
    blows = draw(FULL, seed=3, minutes=18)
    assert Counter(blow.fault for blow in blows) == FULL
    assert sum(blow.pause_s for blow in blows) == pytest.approx(18 * 60, rel=0.15)


def test_the_seed_decides() -> None:
    assert draw(FULL, seed=3, minutes=18) == draw(FULL, seed=3, minutes=18)
    assert draw(FULL, seed=3, minutes=18) != draw(FULL, seed=4, minutes=18)


def test_faults_are_named_on_the_command_line() -> None:
    assert counts_of("workers=6,drains=2") == {Fault.WORKER_KILL: 6, Fault.DRAIN: 2}
    assert counts_of("") == {}
    with pytest.raises(ValueError, match="gremlins"):
        counts_of("gremlins=1")
