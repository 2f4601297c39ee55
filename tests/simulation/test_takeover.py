"""The take-over protocol at length: the worlds of `tests/properties/test_takeover`, many more, from fixed seeds."""

import asyncio
import random
from typing import Final

import pytest

from tests.properties.log_model import Choices
from tests.properties.log_model_readers import as_plain, as_sdk
from tests.properties.log_model_world import lived
from tests.properties.test_takeover_processor import Lane

pytestmark = pytest.mark.slow

FIRST: Final = 1_000_000
"""Seeds below it are used to look for what a sabotage breaks."""


@pytest.mark.parametrize("length", [300, 600, 1200])
def test_every_request_ends_once_in_long_lives_and_short_ones(length: int) -> None:
    for seed in range(FIRST, FIRST + 300_000 // length):
        written = lived(random.Random(seed).randbytes(length)).requests.written
        assert as_plain(written) == as_sdk(written), f"seed {seed}"


def test_owners_may_come_and_go_at_any_moment() -> None:
    for seed in range(FIRST, FIRST + 1000):
        lived(random.Random(seed).randbytes(600), only_owners=True)


def test_processors_may_come_and_go_at_any_moment() -> None:
    async def live() -> None:
        for seed in range(FIRST, FIRST + 1000):
            await Lane(Choices(random.Random(seed).randbytes(200))).live()

    asyncio.run(live())
