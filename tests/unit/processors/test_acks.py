"""Records that are missing in front of one that came: how many, so that it can be told which."""

import pytest

from processors.acks import OrderedAcks
from processors.events import Address


def _at(offset: int) -> Address:
    return Address(topic="lane", partition=0, offset=offset)


@pytest.mark.parametrize(("offset", "missing"), [(8, 0), (9, 1), (20, 12), (7, 0), (3, 0)])
def test_records_between_two_that_came_are_missing(offset: int, missing: int) -> None:
    acks = OrderedAcks()
    acks.receive(_at(7), lambda: None)
    assert acks.missing_before(_at(offset)) == missing


def test_nothing_is_missing_before_the_first_record() -> None:
    assert OrderedAcks().missing_before(_at(50)) == 0
