"""A run in which all workers die, with cancellations, shared and cached answers and refusals: the account adds up.

What happens: each request has one end, as many as were produced, and it is the one that the reader rule accepts. The
engine time of all attempts, idle and loading time and what the dead workers did not live to tell make up what was paid,
to the nanosecond, and the time that led to no answer is named, all of it.
"""

import asyncio
from collections import Counter
from typing import Any

import pytest

from pipeline.cli.account import account, ask
from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.local.plan import Size
from sinks.clickhouse.queries import load_queries
from tests.eventually import eventually
from tests.scenarios.conftest import StartCluster
from tests.scenarios.wire import Wire, chat
from topics import names
from topics.errors import Cancelled
from topics.names import Lane

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

FLAGS = ("models.tiny.cache_mib=8", 'deployments."tiny@v1".fixed_us=5000')
LANE = Lane("tiny", "interactive")
STREAMS = 24
TOKENS = 900
CANCELLED = 6
EQUAL = 5
REFUSED = 3

ATTEMPTS = "SELECT lane_offset AS place, attempt, outcome, gpu_ns FROM attempts"
ENDS = "SELECT lane_offset AS place, attempt FROM requests_final"
Row = dict[str, Any]


async def _read(client: Client, name: str, begun: set[str]) -> str:
    """How one stream ends."""
    stream = client.stream(
        model="tiny", prompt=name, id=name, max_tokens=TOKENS, ignore_eos=True, temperature=1, deadline_ms=60_000
    )
    try:
        async for _ in stream:
            begun.add(name)
    except Cancelled:
        return "cancelled"
    return "completed"


async def _trouble(cluster: LocalCluster, client: Client) -> list[str]:
    """Streams, some of which are cancelled in the middle, and both workers die under the others."""
    names, begun = [f"stream-{number}" for number in range(STREAMS)], set[str]()
    reading = [asyncio.create_task(_read(client, name, begun)) for name in names]
    await eventually(lambda: len(begun) == STREAMS, within_s=30)
    for name in names[:CANCELLED]:
        await client.cancel(name, model="tiny")
    # A worker that dies at once takes along what it has not told of their engine time.
    told = "SELECT attempt FROM attempts WHERE outcome = 'cancelled' AND gpu_ns > 0"
    await eventually(lambda: asyncio.to_thread(_asked, cluster, told, {}), within_s=30, every_s=0.1)
    for victim in cluster.names("worker"):
        cluster.children[victim].kill()
    for victim in cluster.names("worker"):
        await asyncio.to_thread(cluster.restart, victim)
    return await asyncio.gather(*reading)


async def _equal(client: Client) -> None:
    """One question several times at once, and once more when its answer is known."""
    question: dict[str, Any] = {
        "model": "tiny",
        "prompt": "the same",
        "max_tokens": 32,
        "temperature": 0,
        "deadline_ms": 60_000,
    }
    answers = [*await asyncio.gather(*[client.complete(**question) for _ in range(EQUAL)])]
    answers.append(await client.complete(**question))
    assert len({answer.text for answer in answers}) == 1


def _rows(cluster: LocalCluster, name: str) -> list[Row]:
    """A named query's answer."""
    query = load_queries()[name]
    return _asked(cluster, query.text, query.values({}))


def _asked(cluster: LocalCluster, sql: str, values: dict[str, str]) -> list[Row]:
    with account(cluster.settings.clickhouse) as client:
        answer = ask(client, sql, values)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _ended(cluster: LocalCluster) -> int:
    return sum(int(row["ended"]) for row in _rows(cluster, "reconcile"))


async def test_the_account_adds_up(start_cluster: StartCluster) -> None:
    cluster = await asyncio.to_thread(start_cluster, *FLAGS, size=Size(workers=2))
    async with Client(kafka=cluster.settings.kafka) as client, Wire(cluster.settings) as wire:
        ends = Counter(await _trouble(cluster, client))
        await _equal(client)
        refused = [await wire.send(LANE, chat("too hot", temperature=9)) for _ in range(REFUSED)]
        answers = await wire.answers(refused, within_s=30)
    assert [answers[origin].outcome for origin in refused] == ["rejected"] * REFUSED
    assert ends["cancelled"] >= 1

    produced = STREAMS + EQUAL + 1 + REFUSED
    await eventually(lambda: asyncio.to_thread(lambda: _ended(cluster) >= produced), within_s=60, every_s=0.5)
    (lane,) = _rows(cluster, "reconcile")
    assert (lane["up_to_offset"], lane["ended"], lane["is_even"]) == (produced, produced, 1)
    completed = ends["completed"] + EQUAL + 1
    assert (lane["completed"], lane["cancelled"], lane["rejected"]) == (completed, ends["cancelled"], REFUSED)
    async with Wire(cluster.settings) as wire:
        log = await wire.answers([names.origin_of(LANE.topic, 0, place) for place in range(produced)], within_s=30)
    assert sum(int(row["answered_without_engine"]) for row in _rows(cluster, "cache_savings")) == EQUAL

    for name in cluster.names("worker"):  # in order, so that nothing of what they ran is left to tell
        await asyncio.to_thread(cluster.children[name].stop)
    await eventually(lambda: asyncio.to_thread(_is_over, cluster), within_s=30, every_s=0.5)
    starts = _rows(cluster, "reconcile_gpu_time")
    assert Counter(start["ended"] for start in starts) == {"crashed": 2, "stopped": 2}
    assert [start["holds"] for start in starts] == [1] * 4
    assert [start["difference_ns"] for start in starts] == [0] * 4

    ended = {origin: answer.terminal for origin, answer in log.items() if answer.terminal is not None}
    accepted = {names.split_origin(origin)[2]: terminal.attempt for origin, terminal in ended.items()}
    attempts = _asked(cluster, ATTEMPTS, {})
    useful = [row for row in attempts if row["outcome"] == "completed" and row["attempt"] == accepted[row["place"]]]
    wasted_ns = sum(row["gpu_ns"] for row in attempts) - sum(row["gpu_ns"] for row in useful)
    told = {row["cause"]: row["wasted_s"] for row in _rows(cluster, "wasted_cost")}
    unobserved_s = sum(start["unobserved_ns"] for start in starts) / 1e9
    assert told.pop("unobserved") == pytest.approx(unobserved_s, abs=0.001)
    assert told["cancelled"] > 0
    assert sum(told.values()) == pytest.approx(wasted_ns / 1e9, abs=0.001 * len(told))
    final = {row["place"]: row["attempt"] for row in _asked(cluster, ENDS, {})}
    assert final == {place: attempt or "" for place, attempt in accepted.items()}


def _is_over(cluster: LocalCluster) -> bool:
    """Whether the last reports of all workers are in the account."""
    return "running" not in {start["ended"] for start in _rows(cluster, "reconcile_gpu_time")}
