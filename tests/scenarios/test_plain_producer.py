"""A client that has none of our code, and the real engine: JSON in on a Kafka topic, the answer out on another."""

import asyncio
import time
from collections.abc import Iterator

import msgspec
import pytest
from confluent_kafka import Consumer, Producer

from infra.devstack.home import CHECKOUT
from pipeline.local.cluster import LocalCluster

pytestmark = [pytest.mark.scenario, pytest.mark.vllm, pytest.mark.timeout(600)]

REQUEST = (
    b'{"body":{"messages":[{"role":"user","content":"What is the capital of France?"}],'
    b'"max_tokens":16,"temperature":0}}'
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The demo's cluster with vLLM."""
    config = CHECKOUT / "infra" / "demo" / "millrace.toml"
    with LocalCluster(folder=tmp_path_factory.mktemp("cluster"), config=config) as cluster:
        yield cluster


def _produce(brokers: str, topic: str, value: bytes) -> str:
    """Id that the request gets because it names none."""
    placed: list[str] = []
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(topic, value, on_delivery=lambda _, m: placed.append(f"{m.topic()}-{m.partition()}-{m.offset()}"))
    producer.flush(30)
    return placed[0]


def _terminal(brokers: str, request_id: str, *, within_s: float) -> dict[str, object]:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "plain", "auto.offset.reset": "earliest"})
    consumer.subscribe(["inference.responses"])
    give_up_at_s = time.monotonic() + within_s
    try:
        while time.monotonic() < give_up_at_s:
            message = consumer.poll(1.0)
            if message is None or message.error() or message.key() != request_id.encode():
                continue
            record = msgspec.json.decode(message.value() or b"", type=dict[str, object])
            if record["type"] not in ("started", "delta", "progress"):
                return record
    finally:
        consumer.close()
    raise AssertionError(f"no terminal record of {request_id} within {within_s} s")


async def test_a_plain_producer_gets_the_capital_of_france(cluster: LocalCluster) -> None:
    brokers = cluster.broker.bootstrap
    request_id = await asyncio.to_thread(_produce, brokers, "inference.requests.smollm2.interactive", REQUEST)
    terminal = await asyncio.to_thread(_terminal, brokers, request_id, within_s=60)
    assert terminal["type"] == "completed"
    assert "Paris" in msgspec.json.encode(terminal["body"]).decode()
