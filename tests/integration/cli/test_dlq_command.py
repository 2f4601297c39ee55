"""Dead letters on a real broker: listed, shown, put back once, removed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from pipeline.deadletters import ledger
from pipeline.deadletters.ledger import begun_mark
from pipeline.runtime import kafka
from pipeline.runtime.reading import Record, begin, existing_partitions, read_to, reader
from tests.integration.cli.conftest import Cluster
from topics import names
from topics.codec import encode
from topics.dispatches import BatchPart, Dispatch, Stations
from topics.headers import DLQ_REPLAYED, DLQ_TRUNCATED, Headers, dead_letter, header
from topics.requests import ReplyTo

pytestmark = pytest.mark.integration

Said = pytest.CaptureFixture[str]


class Office:
    """Puts letters among the dead ones and reads what was put back."""

    def __init__(self, cluster: Cluster, producer: AIOKafkaProducer) -> None:
        self.cluster = cluster
        self.lane = names.Lane(cluster.model, "bulk").topic
        self.producer = producer

    async def bury(self, value: bytes = b"{", *, topic: str = "", extra: Headers | None = None, **why: Any) -> str:
        """A letter; its position."""
        said = {"offset": 5, "stage": "processor", "code": "undecodable", "message": "no JSON", **why}
        headers = dead_letter([("traceparent", b"t")], topic=topic or self.lane, partition=0, **said)
        sent = await self.producer.send_and_wait(
            names.DEAD_LETTERS, value, key=b"key", headers=[*headers, *(extra or [])]
        )
        return f"{sent.partition}/{sent.offset}"

    async def put(self, topic: str, value: bytes | None, headers: Headers) -> str:
        sent = await self.producer.send_and_wait(topic, value, key=b"key", headers=headers, partition=0)
        return names.origin_of(sent.topic, sent.partition, sent.offset)

    async def on_lane(self) -> list[Record]:
        """Everything on the lane."""
        async with reader(self.cluster.settings.kafka, client_id="test") as log:
            ends = await begin(log, await existing_partitions(log, [self.lane]))
            return [record async for records in read_to(log, ends) for record in records]

    async def dlq(self, *line: str) -> int:
        return await self.cluster.millrace("--json", "dlq", *line)

    async def listed(self, said: Said, *line: str) -> list[dict[str, Any]]:
        said.readouterr()
        assert await self.dlq("list", "--topic", self.lane, *line) == 0
        found: list[dict[str, Any]] = msgspec.json.decode(said.readouterr().out)
        return found


@pytest.fixture
async def office(cluster: Cluster) -> AsyncIterator[Office]:
    await cluster.with_topics()
    producer = kafka.producer(cluster.settings.kafka, client_id="test")
    await producer.start()
    yield Office(cluster, producer)
    await producer.stop()


async def test_letters_are_listed_newest_first_and_by_code(office: Office, capsys: Said) -> None:
    first = await office.bury()
    second = await office.bury(code="body_too_large")
    everything = await office.listed(capsys)
    by_code = await office.listed(capsys, "--code", "undecodable", "--since", "1h")
    one = await office.listed(capsys, "--limit", "1")
    assert [letter["position"] for letter in everything] == [second, first]
    assert [letter["position"] for letter in by_code] == [first]
    assert [letter["position"] for letter in one] == [second]
    assert everything[1]["origin"] == f"{office.lane}/0/5"


async def test_a_letter_is_shown_without_its_bytes_unless_they_are_asked_for(office: Office, capsys: Said) -> None:
    position = await office.bury(b"my secret")
    assert await office.cluster.millrace("dlq", "show", position) == 0
    hidden = capsys.readouterr().out
    assert await office.dlq("show", position, "--payload") == 0
    whole = msgspec.json.decode(capsys.readouterr().out)
    assert "secret" not in hidden
    assert "undecodable" in hidden
    assert (whole["payload"], whole["key"], whole["headers"]) == ("my secret", "key", {"traceparent": "t"})


async def test_a_letter_goes_back_as_it_was_and_only_once(office: Office, capsys: Said) -> None:
    position = await office.bury(b"\xff bytes")
    codes = [await office.dlq("replay", position) for _ in range(2)]
    (record,) = await office.on_lane()
    (letter,) = await office.listed(capsys)
    mark = (DLQ_REPLAYED, f"inference.dlq/{position}".encode())
    assert codes == [0, 0]
    assert (record.key, record.value) == (b"key", b"\xff bytes")
    assert list(record.headers) == [("traceparent", b"t"), mark]
    assert letter["replayed"] == f"{office.lane}/0/{record.offset}"


async def test_a_record_that_dies_again_is_a_letter_of_its_own(office: Office, capsys: Said) -> None:
    first = await office.bury()
    await office.dlq("replay", first)
    second = await office.bury(extra=[(DLQ_REPLAYED, f"inference.dlq/{first}".encode())])
    assert await office.dlq("replay", second) == 0
    records = await office.on_lane()
    assert [header(r.headers, DLQ_REPLAYED) for r in records] == [
        f"inference.dlq/{p}".encode() for p in (first, second)
    ]


async def test_all_are_put_back_a_portion_at_a_time(office: Office, capsys: Said) -> None:
    for n in range(5):
        await office.bury(str(n).encode())
    await office.bury(b"other", code="body_too_large")
    chosen = ("replay", "--all", "--topic", office.lane, "--code", "undecodable", "--limit", "3")
    assert await office.dlq(*chosen) == 0
    told = capsys.readouterr().err
    assert await office.dlq(*chosen) == 0
    assert await office.dlq(*chosen) == 0
    assert "3 letters were taken, 2 are left" in told
    assert sorted(record.value for record in await office.on_lane()) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_dry_run_changes_nothing(office: Office, capsys: Said) -> None:
    position = await office.bury()
    assert await office.dlq("replay", position, "--dry-run") == 0
    (outcome,) = msgspec.json.decode(capsys.readouterr().out)
    assert (outcome["state"], outcome["record"]) == ("would_replay", f"{office.lane}/0")
    assert await office.on_lane() == []
    assert (await office.listed(capsys))[0]["replayed"] is None


async def test_two_replays_at_once_put_it_back_once(office: Office) -> None:
    positions = [await office.bury(str(n).encode()) for n in range(10)]
    chosen = ("replay", "--all", "--topic", office.lane)
    await asyncio.gather(*(office.dlq(*chosen) for _ in range(3)))
    assert sorted(record.value for record in await office.on_lane()) == [str(n).encode() for n in range(len(positions))]


async def test_while_another_replay_is_at_it_a_letter_is_left_alone(office: Office, capsys: Said) -> None:
    position = await office.bury()
    letter = f"inference.dlq/{position}"
    await office.put(names.DEAD_LETTERS, None, begun_mark(letter, run="other", target=f"{office.lane}/0/0"))
    assert await office.dlq("replay", position) == 0
    (outcome,) = msgspec.json.decode(capsys.readouterr().out)
    assert outcome["why"] == "another replay is at it; try again in a minute"
    assert await office.on_lane() == []


@pytest.mark.parametrize("had_arrived", [True, False])
async def test_a_replay_that_was_interrupted_is_finished(
    office: Office, capsys: Said, monkeypatch: pytest.MonkeyPatch, had_arrived: bool
) -> None:
    monkeypatch.setattr(ledger, "GIVEN_UP_MS", 0)
    position = await office.bury()
    letter = f"inference.dlq/{position}"
    await office.put(office.lane, b"in between", [])
    await office.put(names.DEAD_LETTERS, None, begun_mark(letter, run="dead", target=f"{office.lane}/0/0"))
    if had_arrived:
        await office.put(office.lane, b"{", [(DLQ_REPLAYED, letter.encode())])
    assert await office.dlq("replay", position) == 0
    (outcome,) = msgspec.json.decode(capsys.readouterr().out)
    assert outcome["state"] == ("skipped" if had_arrived else "replayed")
    assert [record.value for record in await office.on_lane()] == [b"in between", b"{"]
    assert (await office.listed(capsys))[0]["replayed"] == f"{office.lane}/0/1"


async def test_what_was_cut_cannot_be_put_back(office: Office, capsys: Said) -> None:
    position = await office.bury(b"begin", extra=[(DLQ_TRUNCATED, b"5000000")])
    gone = await office.bury(topic="inference.requests.gone.bulk")
    assert [await office.dlq("replay", place) for place in (position, gone)] == [1, 1]
    said = capsys.readouterr().out
    assert "4999995 bytes of it were cut off" in said
    assert "there is no inference.requests.gone.bulk/0 any more" in said
    assert await office.on_lane() == []


def _dispatch(origin: str, model: str) -> Dispatch:
    return Dispatch(
        id="q",
        tenant="acme",
        model=model,
        latency_class="bulk",
        deployment=f"{model}@v1",
        endpoint="/v1/completions",
        body=msgspec.Raw(b'{"prompt":"x"}'),
        origin=origin,
        reply=ReplyTo(topic=names.RESPONSES, partition=0),
        deadline_at_ms=1,
        priority=0,
        sender="p",
        seq=1,
        batch=BatchPart(id="b", index=0, size=1),
        stations=Stations(produced_at_us=1),
        reason="filled",
    )


async def test_of_a_dispatch_that_killed_engines_the_request_goes_back_to_its_lane(office: Office) -> None:
    model = office.cluster.model
    origin = await office.put(office.lane, b"the request", [("traceparent", b"own")])
    slot = names.dispatch_topic(f"{model}@v1")
    position = await office.bury(encode(_dispatch(origin, model)), topic=slot, stage="worker", code="engine_error")
    assert await office.dlq("replay", position) == 0
    _, record = await office.on_lane()
    assert (record.value, header(record.headers, "traceparent")) == (b"the request", b"own")
    assert header(record.headers, DLQ_REPLAYED) == f"inference.dlq/{position}".encode()


async def test_purge_removes_up_to_a_position_when_told_twice(office: Office, capsys: Said) -> None:
    first, second, third = [await office.bury() for _ in range(3)]
    refused = await office.dlq("purge", second)
    told = capsys.readouterr().err
    before = [letter["position"] for letter in await office.listed(capsys)]
    done = await office.dlq("purge", second, "--yes")
    after = [letter["position"] for letter in await office.listed(capsys)]
    assert (refused, done) == (2, 0)
    assert "give --yes to do it" in told
    assert (before, after) == ([third, second, first], [third])


async def test_purge_all_leaves_nothing(office: Office, capsys: Said) -> None:
    position = await office.bury()
    assert await office.dlq("purge", "--all", "--yes") == 0
    assert await office.listed(capsys) == []
    assert await office.dlq("show", position) == 1
    assert "there is no dead letter at" in capsys.readouterr().err
