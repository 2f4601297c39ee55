"""`kill -9` of the recorder at ten random moments under load: no row is lost and none is there twice."""

from pathlib import Path

import pytest

from tests.integration.sinks.conftest import MakeTopics, make_topics  # noqa: F401 - a fixture
from tests.integration.sinks.killing import kill_again_and_again

pytestmark = [pytest.mark.scenario, pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 10
SEED = 20260823


async def test_kill_9_neither_loses_nor_doubles_a_row(make_topics: MakeTopics, tmp_path: Path) -> None:  # noqa: F811
    topics = await make_topics(partitions=2)
    done: list[int] = []

    sent, found = await kill_again_and_again(
        topics, tmp_path, kills=KILLS, seed=SEED, on_kill=lambda number, _: done.append(number)
    )

    assert len(done) == KILLS
    assert found.rows == sent
    assert not any(found.doubled.values())
    assert found.differing == ()
