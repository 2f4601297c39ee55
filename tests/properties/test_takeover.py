"""The take-over protocol on the product's own code, over a modelled log: whatever happens, every request ends once.

`log_model_world` says what may happen and what has to hold. Each part of the protocol is needed: what is left when one
is taken out loses or mixes answers, and the same machine finds it.
"""

import random
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.worker.slot import SlotOwner, Taken
from tests.properties.log_model import Group, Restless, Violation
from tests.properties.log_model_readers import as_plain, as_sdk
from tests.properties.log_model_requests import REPLIES
from tests.properties.log_model_worker import Worker
from tests.properties.log_model_world import lived
from topics.reader import Reader
from topics.responses import Started

BYTES: Final = 600
RUNS: Final = 600
"""Worlds in which a sabotage has to be found."""


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=BYTES // 2, max_size=BYTES * 3 // 2))
def test_every_request_ends_once_with_tokens_that_continue_each_other(data: bytes) -> None:
    world = lived(data)
    assert all(asked.is_over for asked in world.requests)
    written, left = world.requests.written, world.broker.log(REPLIES).records
    assert as_plain(written) == as_sdk(written)
    assert as_plain(left) == as_sdk(left)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=BYTES // 2, max_size=BYTES * 3 // 2))
def test_owners_may_come_and_go_at_any_moment(data: bytes) -> None:
    (asked,) = lived(data, only_owners=True).requests
    assert asked.tape.end is not None


# What is taken out of the protocol, one part at a time


def _takes_over_without_terms(reader: Reader, record: Started) -> bool:
    current = reader.current
    if current is None or record.mode == "fresh":
        return current is None
    return record.hop > current.hop or (record.hop == current.hop and record.dispatch == current.dispatch)


def _takes_over_without_modes(reader: Reader, record: Started) -> bool:
    current = reader.current
    if current is None or record.hop != current.hop:
        return current is None or record.hop > current.hop
    return record.dispatch == current.dispatch and record.term >= current.term


def _without_terms(patch: pytest.MonkeyPatch) -> None:
    """A later owner's beginning counts no more than a former one's."""
    patch.setattr(Reader, "_takes_over", _takes_over_without_terms)


def _without_modes(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks whether another attempt may have begun: all begin as if they were the first, and all count."""
    patch.setattr(Reader, "_takes_over", _takes_over_without_modes)
    patch.setattr(SlotOwner, "_judged", _first)


def _first(slot: SlotOwner, taken: Taken) -> Taken:
    taken.may_have_started = False
    return taken


def _without_proof(patch: pytest.MonkeyPatch) -> None:
    """An owner begins as soon as its marker is written."""
    patch.setattr(Worker, "proves", False)


def _without_fence(patch: pytest.MonkeyPatch) -> None:
    """The group takes commits of former owners."""
    patch.setattr(Group, "fences", False)


def _without_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """A record counts as written as soon as it is handed to the producer."""
    patch.setattr(Worker, "awaits_broker", False)


SABOTAGES = (_without_terms, _without_modes, _without_proof, _without_fence, _without_acknowledgement)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__.strip("_"))
def test_no_part_of_the_protocol_can_be_left_out(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    assert any(_is_lost_or_mixed(seed) for seed in range(RUNS))


def _is_lost_or_mixed(seed: int) -> bool:
    try:
        lived(random.Random(seed).randbytes(BYTES), only_owners=True)
    except Restless:
        return False
    except Violation:
        return True
    return False
