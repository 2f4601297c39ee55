import asyncio
from pathlib import Path

import msgspec
import pytest
from aiokafka import TopicPartition

from pipeline.runtime import kafka
from tests.integration.cli.conftest import Cluster
from tests.integration.cli.responder import answering, responder
from tests.unit.cli.builders import a_completed, a_delta, a_started
from topics import names
from topics.codec import decode_cancellation, encode

pytestmark = pytest.mark.integration


async def test_ask_prints_the_answer_on_stdout_and_its_cost_on_stderr(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()

    async with responder(cluster.settings, names.Lane(cluster.model, "interactive"), answering("Paris it is")):
        code = await cluster.millrace("ask", "What is the capital of France?")

    captured = capsys.readouterr()
    assert (code, captured.out) == (0, "Paris it is \n")
    assert captured.err.startswith("millrace: 3 tokens in, 3 out · first after ")
    assert "m@v1" in captured.err


async def test_ask_as_json_is_one_object(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()

    async with responder(cluster.settings, names.Lane(cluster.model, "bulk"), answering("Paris")):
        code = await cluster.millrace("ask", "Where?", "--class", "bulk", "--json")

    result = msgspec.json.decode(capsys.readouterr().out)
    assert (code, result["text"], result["usage"]["completion_tokens"]) == (0, "Paris ", 1)


async def test_ask_of_a_class_that_is_not_there_names_those_that_are(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()

    assert await cluster.millrace("ask", "Where?", "--class", "soon") == 1
    assert "it has: bulk, interactive, realtime" in capsys.readouterr().err


def _write_prompts(path: Path, count: int) -> Path:
    lines = [msgspec.json.encode({"custom_id": f"q{i}", "body": {"prompt": f"prompt {i}"}}) for i in range(count)]
    path.write_bytes(b"\n".join(lines))
    return path


def _results(path: Path) -> dict[str, dict[str, object]]:
    return {line["custom_id"]: line for line in map(msgspec.json.decode, path.read_bytes().splitlines())}


async def test_submit_collects_every_answer_and_exits_with_1_if_one_is_missing(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()
    file, out = _write_prompts(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    script = answering("four words of answer", rejects=frozenset({"q7"}))

    async with responder(cluster.settings, names.Lane(cluster.model, "bulk"), script):
        code = await cluster.millrace("submit", str(file), "--out", str(out), "--concurrency", "5", "--json")

    summary = msgspec.json.decode(capsys.readouterr().out)
    assert code == 1
    assert (summary["total"], summary["completed"], summary["failed"]) == (20, 19, 1)
    assert summary["completion_tokens"] == 19 * 4
    results = _results(out)
    assert set(results) == {f"q{i}" for i in range(20)}
    assert results["q7"]["response"] is None
    assert results["q7"]["error"] == {"code": "queue_full", "message": "the lane is full", "retryable": True}


async def test_submit_goes_on_where_it_was_broken_off(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.with_topics()
    file, out = _write_prompts(tmp_path / "in.jsonl", 6), tmp_path / "out.jsonl"
    done = b'{"id":"","custom_id":"q0","response":null,"error":null}\n{"id":"","custom_id":"q1"}\n{"id":"","cus'
    out.write_bytes(done)

    async with responder(cluster.settings, names.Lane(cluster.model, "bulk"), answering("yes")) as seen:
        code = await cluster.millrace("submit", str(file), "--out", str(out))

    assert code == 0
    assert sorted(seen) == ["q2", "q3", "q4", "q5"]
    assert sorted(_results(out)) == [f"q{i}" for i in range(6)]


async def test_submit_retries_what_a_retry_can_help(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.with_topics()
    file, out = _write_prompts(tmp_path / "in.jsonl", 2), tmp_path / "out.jsonl"
    lane = names.Lane(cluster.model, "bulk")

    async with responder(cluster.settings, lane, answering("yes", rejects=frozenset({"q1"}))):
        first = await cluster.millrace("submit", str(file), "--out", str(out))
    nothing_to_do = await cluster.millrace("submit", str(file), "--out", str(out))
    async with responder(cluster.settings, lane, answering("now it works")):
        second = await cluster.millrace("submit", str(file), "--out", str(out), "--retry")

    assert (first, nothing_to_do, second) == (1, 0, 0)
    assert _results(out)["q1"]["error"] is None


async def test_tail_shows_what_counts_and_what_does_not_until_the_end(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()
    origin, request_id = f"{names.Lane(cluster.model, 'bulk').topic}/0/0", f"tail-{cluster.model}"
    story = [
        a_started("old", origin=origin),
        a_delta("old", origin=origin),
        a_started("new", origin=origin, mode="resume", hop=1),
        a_delta("old", origin=origin, seq=1),
        a_completed("new", origin=origin),
    ]
    producer = kafka.producer(cluster.settings.kafka, client_id="test")
    await producer.start()
    for record in story:
        await producer.send_and_wait(names.RESPONSES, encode(record), key=request_id.encode(), partition=0)
    await producer.stop()

    assert await cluster.millrace("tail", request_id, "--json", "--within", "20") == 0

    shown = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verdict"] for line in shown] == ["started", "delivered", "started", "ignored", "ended"]
    assert shown[3]["why"] == "attempt new is current"


async def test_tail_gives_up_on_a_request_that_does_not_end(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()

    assert await cluster.millrace("tail", "nobody", "--within", "0.5") == 1
    assert "nobody has not ended within 0.5 s" in capsys.readouterr().err


async def test_cancel_puts_the_wish_into_the_log(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()

    assert await cluster.millrace("cancel", "order-42", "--tenant", "acme", "--json") == 0

    topic, partition, offset = names.split_origin(msgspec.json.decode(capsys.readouterr().out)["record"])
    log = kafka.consumer(cluster.settings.kafka, client_id="test")
    await log.start()
    try:
        log.assign([TopicPartition(topic, partition)])
        log.seek(TopicPartition(topic, partition), offset)
        record = await asyncio.wait_for(log.getone(), 10)
    finally:
        await log.stop()
    wish = decode_cancellation(record.value)
    assert (wish.id, wish.model, wish.tenant) == ("order-42", cluster.model, "acme")
