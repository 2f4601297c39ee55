"""What is remembered is bounded: five times the requests leave no more behind. The long form is `tests.bench.soak`."""

import itertools
from typing import Final

import pytest

from processors.routing.placements import LIMIT
from tests.bench import soak
from tests.virtual_mill import VirtualMill

pytestmark = pytest.mark.slow

FEW: Final = 2_000
MANY: Final = 10_000
SLACK: Final = 96
"""Entries that a structure may hold more than before: heaps and lists are tidied now and then, not at once."""
BY_COUNT: Final = ("_placements._ended", "_cancellations._until_s", "_cancellations._by_ms")
"""Bounded by a count that these requests do not reach; the bench does."""


@pytest.fixture(scope="module")
def mill() -> VirtualMill:
    return soak.a_mill(soak.policy(window_s=0.5))


@pytest.fixture(scope="module")
def after_few_and_many(mill: VirtualMill) -> tuple[dict[str, int], dict[str, int]]:
    mill.run(soak.arrivals(mill, 0, FEW))
    mill.settle()
    few = soak.remembered(mill)
    mill.run(soak.arrivals(mill, FEW, MANY - FEW))
    mill.settle()
    return few, soak.remembered(mill)


def test_every_request_ends(mill: VirtualMill, after_few_and_many: tuple[dict[str, int], dict[str, int]]) -> None:
    assert (mill.ended, mill.open) == (MANY, 0)
    assert {"completed", "cancelled", "expired", "rejected"} <= set(mill.outcomes)


def test_nothing_is_at_hand_when_all_have_ended(
    mill: VirtualMill, after_few_and_many: tuple[dict[str, int], dict[str, int]]
) -> None:
    assert (mill.scheduler.queued, mill.scheduler.sharing.held) == (0, 0)
    assert [len(worker.core.jobs) for worker in mill.workers] == [0] * len(mill.workers)
    assert mill.scheduler.placed == 0


def test_no_structure_grows_with_the_requests(after_few_and_many: tuple[dict[str, int], dict[str, int]]) -> None:
    few, many = after_few_and_many
    grown = {path: (few.get(path, 0), count) for path, count in many.items() if count > few.get(path, 0) * 1.25 + SLACK}
    assert {path for path in grown if not path.endswith(BY_COUNT)} == set()


def test_what_is_bounded_by_count_is(after_few_and_many: tuple[dict[str, int], dict[str, int]]) -> None:
    _, many = after_few_and_many
    kept = itertools.chain.from_iterable(
        [count for path, count in many.items() if path.endswith(end)] for end in BY_COUNT
    )
    assert max(kept) <= min(MANY, LIMIT)
