"""Texts stay in the records that carry them: no log, no table and no other topic ever has a prompt or an answer.

Everything that looks at a request has its chance to tell: requests that complete, that are refused for each part of
them, that cannot be read, that fail, are cancelled and expire, and that go on after the death of their worker. What is
looked for is shown to be findable: a request's id is in the account, and the dead letters have the prompt.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.cli.account import account, ask
from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.runtime.reading import begin, existing_partitions, read_to, reader
from pipeline.settings import Settings
from tests.eventually import eventually
from tests.scenarios.conftest import StartCluster
from tests.scenarios.wire import Wire, chat
from topics import names
from topics.errors import Cancelled, CodecError
from topics.names import Lane
from topics.trace import decode_rows

pytestmark = [pytest.mark.scenario, pytest.mark.slow, pytest.mark.timeout(240)]

CANARY: Final = "tweety-7f3a-sang-of-a-canary"
LANE: Final = Lane("tiny", "interactive")
FLAGS: Final = ('deployments."tiny@v1".fail_ratio=0.3', 'deployments."tiny@v1".fixed_us=10000')
SPOKEN: Final = 12
WORKER: Final = "worker-tiny.v1"
CARRIERS: Final = ("inference.requests.", "inference.dispatch.", "inference.responses", "inference.returns.")
"""Topics that carry texts because that is what they are for; dead letters are the originals of what they refused."""


def _refused() -> list[bytes]:
    """Values with the canary in a part that something is wrong with."""
    text = CANARY.encode()
    return [
        chat(CANARY, temperature=9, id="too-hot"),
        chat(CANARY, temperature=CANARY),
        chat(CANARY, max_tokens=CANARY),
        chat(CANARY * 3000, id="too-long"),
        chat(CANARY, deadline_ms=CANARY),
        chat(CANARY, id="expired", deadline_ms=1),
        chat(CANARY, response_format={"type": "json_schema", "json_schema": {"name": CANARY}}),
        b'{"body": {"messages": [{"role": "user", "content": "%s"' % text,
        b'{"body": {"messages": "%s"}}' % text,
        b'{"body": "%s"}' % text,
        b'{"endpoint": "/v1/%s", "body": {"prompt": "%s"}}' % (text, text),
        b"\xff%s" % text,
    ]


async def _answered(client: Client) -> list[str]:
    """The texts of answers to the canary. A few fail, which is told too."""
    asks = [
        client.complete(
            model="tiny",
            messages=[{"role": "user", "content": f"{CANARY} {number}"}],
            id=f"spoken-{number}",
            max_tokens=48,
            ignore_eos=True,
            stop=[f"{CANARY}-stop"],
            deadline_ms=100_000,
        )
        for number in range(SPOKEN)
    ]
    ends = await asyncio.gather(*asks, return_exceptions=True)
    return [end.text for end in ends if not isinstance(end, BaseException)]


async def _interrupted(cluster: LocalCluster, client: Client) -> list[str]:
    """The texts of a stream that is cancelled and of one whose worker is killed."""
    asked: dict[str, Any] = {"model": "tiny", "ignore_eos": True, "max_tokens": 200, "deadline_ms": 100_000}
    cancelled = client.stream(prompt=f"{CANARY} cancelled", id="cancelled", **asked)
    resumed = client.stream(prompt=f"{CANARY} resumed", id="resumed", **asked)
    texts = ["", ""]
    async for delta in resumed:
        if not texts[0]:
            cluster.children[WORKER].kill()
            await asyncio.to_thread(cluster.restart, WORKER)
        texts[0] += delta.text
    try:
        async for delta in cancelled:
            texts[1] += delta.text
            await client.cancel("cancelled", model="tiny")
    except Cancelled:
        pass
    return texts


def _phrases(texts: Iterable[str]) -> set[str]:
    """Every four words that follow on each other."""
    words = [text.split() for text in texts]
    return {" ".join(said[i : i + 4]) for said in words for i in range(len(said) - 3)}


def _found(needles: Iterable[str], hay: dict[str, str]) -> list[tuple[str, str]]:
    """Where a needle is: (place, needle)."""
    return [(place, needle) for place, text in hay.items() for needle in needles if needle in text]


def _logs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in folder.iterdir()}


def _tables(cluster: LocalCluster) -> dict[str, str]:
    """All columns of all rows of every table and view of the account."""
    with account(cluster.settings.clickhouse) as client:
        tables = [str(row[0]) for row in ask(client, "SELECT name FROM system.tables WHERE database = 'trace'").rows]
        return {
            name: client.raw_query(f"SELECT * FROM {name}", fmt="JSONEachRow").decode(errors="replace")
            for name in tables
        }


async def _topics(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """What is in topics: keys, headers and values, and the rows of values that are packed."""
    found = {}
    async with reader(settings.kafka, client_id="privacy") as consumer:
        for topic in topics:
            ends = await begin(consumer, await existing_partitions(consumer, [topic]))
            records = [record async for chunk in read_to(consumer, ends) for record in chunk]
            found[topic] = "".join(f"{r.key!r}{r.headers!r}{r.value!r}{_rows(r.value)}" for r in records)
    return found


async def _all_topics(settings: Settings) -> set[str]:
    async with reader(settings.kafka, client_id="privacy") as consumer:
        return set(await consumer.topics())


def _rows(value: bytes | None) -> str:
    try:
        return repr(decode_rows(value or b"").to_pylist())
    except CodecError:
        return ""


async def test_no_log_no_table_and_no_other_topic_has_a_text(start_cluster: StartCluster) -> None:
    cluster = await asyncio.to_thread(start_cluster, *FLAGS)
    async with Client(kafka=cluster.settings.kafka) as client, Wire(cluster.settings) as wire:
        refused = [await wire.send(LANE, value) for value in _refused()]
        texts = [*await _interrupted(cluster, client), *await _answered(client)]
        answers = await wire.answers(refused, within_s=5)  # what cannot be read at all has no answer
    assert {answer.outcome for answer in answers.values()} >= {"completed", "failed", "rejected", "expired"}
    await eventually(lambda: asyncio.to_thread(_has_all, cluster), within_s=60, every_s=0.5)
    needles = {CANARY, CANARY.encode().hex(), *_phrases(texts)}
    assert len(needles) > 100

    everything = await _all_topics(cluster.settings)
    others = {topic for topic in everything if not topic.startswith((*CARRIERS, "__", names.DEAD_LETTERS))}
    assert {names.TRACE, names.FEEDBACK, names.workers_topic("tiny")} <= others
    logs, tables = _logs(cluster.logs), await asyncio.to_thread(_tables, cluster)
    topics = await _topics(cluster.settings, others)
    assert _found(needles, logs) == []
    assert _found(needles, tables) == []
    assert _found(needles, topics) == []

    assert {place for place, _ in _found(["spoken-0"], tables)} >= {"requests", "events"}
    assert _found(["spoken-0"], {names.TRACE: topics[names.TRACE]})
    assert _found([CANARY], await _topics(cluster.settings, [names.DEAD_LETTERS]))
    assert {"recorder.log", "processor-tiny.log", f"{WORKER}.log"} <= logs.keys()


def _has_all(cluster: LocalCluster) -> bool:
    """Whether every request that had an id has its end in the account."""
    ids = [f"spoken-{number}" for number in range(SPOKEN)] + ["cancelled", "resumed", "too-hot", "too-long", "expired"]
    with account(cluster.settings.clickhouse) as client:
        rows = ask(client, "SELECT DISTINCT request_id FROM requests_final").rows
    return {str(row[0]) for row in rows} >= set(ids)
