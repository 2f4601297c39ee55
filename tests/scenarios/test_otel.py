"""Spans of requests at a real OTLP receiver: every process real, the engine simulated."""

import asyncio

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeline.client import Client
from tests.eventually import eventually
from tests.otlp import Received, Receiver, receiving
from tests.scenarios.conftest import StartCluster

pytestmark = [pytest.mark.scenario, pytest.mark.slow]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PRODUCER = "00f067aa0ba902b7"
MESSAGES = [{"role": "user", "content": "a secret of mine"}]
REQUEST = "process inference.requests.tiny.interactive"
ALL = {
    REQUEST,
    "admit",
    "queue",
    "dispatch",
    "chat tiny",
    "prefill",
    "decode",
}


async def test_a_request_is_one_tree_below_its_producers_span(start_cluster: StartCluster) -> None:
    with receiving() as receiver:
        cluster = await asyncio.to_thread(start_cluster, f"otel.endpoint={receiver.url}", "otel.sample_ratio=0.0")
        async with Client(kafka=cluster.settings.kafka) as client:
            await client.complete(
                model="tiny", messages=MESSAGES, max_tokens=8, traceparent=f"00-{TRACE}-{PRODUCER}-01", id="order-42"
            )
            unsampled = f"00-{TRACE[::-1]}-{PRODUCER}-00"
            await client.complete(model="tiny", messages=MESSAGES, max_tokens=8, traceparent=unsampled)
            await client.complete(model="tiny", messages=MESSAGES, max_tokens=8)

        await eventually(lambda: _is_whole(receiver), within_s=15)
        spans = {received.name: received for received in receiver.of_trace(TRACE)}
        _check_tree(spans)
        _check_attributes(spans)
        assert {received.trace for received in receiver.spans} == {TRACE}
        assert "secret" not in repr(receiver.spans)


def _is_whole(receiver: Receiver) -> bool:
    return {received.name for received in receiver.of_trace(TRACE)} == ALL


def _check_tree(spans: dict[str, Received]) -> None:
    request, attempt = spans[REQUEST], spans["chat tiny"]
    assert request.parent == PRODUCER
    assert {spans[name].parent for name in ("admit", "queue", "dispatch", "chat tiny")} == {request.id}
    assert {spans[name].parent for name in ("prefill", "decode")} == {attempt.id}
    assert (request.span.kind, spans["dispatch"].span.kind) == (Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_PRODUCER)
    assert [event.name for event in attempt.span.events] == ["gen_ai.first_token"]
    assert (attempt.service, attempt.instance) == ("millrace-worker", "worker-tiny.v1")
    assert request.service == "millrace-processor"
    for received in spans.values():
        span = received.span
        assert request.span.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.span.end_time_unix_nano
    assert spans["prefill"].span.end_time_unix_nano == attempt.span.events[0].time_unix_nano


def _check_attributes(spans: dict[str, Received]) -> None:
    request = spans[REQUEST].attributes
    assert request["messaging.system"] == "kafka"
    assert request["messaging.destination.name"] == "inference.requests.tiny.interactive"
    assert request["messaging.message.id"] == "order-42"
    assert spans["dispatch"].attributes["messaging.destination.name"] == "inference.dispatch.tiny.v1"
    attempt = spans["chat tiny"].attributes
    assert attempt["gen_ai.operation.name"] == "chat"
    assert (attempt["gen_ai.request.model"], attempt["gen_ai.response.model"]) == ("tiny", "tiny@v1")
    assert attempt["gen_ai.usage.output_tokens"] == 8
    assert attempt["gen_ai.response.finish_reasons"] == ["length"]
    assert spans["chat tiny"].span.status.code == Status.STATUS_CODE_UNSET


async def test_attempts_and_batches_of_many_requests_hang_together(start_cluster: StartCluster) -> None:
    with receiving() as receiver:
        scarce = ('deployments."tiny@v1".crash_every=30', 'deployments."tiny@v1".max_sequences=8')
        flags = (f"otel.endpoint={receiver.url}", *scarce)
        cluster = await asyncio.to_thread(start_cluster, *flags)
        async with Client(kafka=cluster.settings.kafka) as client:
            asks = [client.complete(model="tiny", messages=MESSAGES, max_tokens=16) for _ in range(60)]
            await asyncio.gather(*asks)

        await eventually(lambda: len(_named(receiver, REQUEST)) == 60, within_s=15)
        requests = {received.id: received for received in _named(receiver, REQUEST)}
        assert {received.parent for received in requests.values()} == {""}
        attempts = await eventually(lambda: _lost(receiver), within_s=5)
        assert {received.parent for received in attempts} <= requests.keys()
        await eventually(lambda: _named(receiver, "batch tiny"), within_s=15)
        for batch in _named(receiver, "batch tiny"):
            linked = {link.span_id.hex() for link in batch.span.links}
            assert len(linked) == batch.attributes["messaging.batch.message_count"]
            assert linked <= requests.keys()
        ids = {received.id for received in _named(receiver, "batch tiny")}
        assert {link.span_id.hex() for received in _named(receiver, "dispatch") for link in received.span.links} >= ids


def _named(receiver: Receiver, name: str) -> list[Received]:
    return list({received.id: received for received in receiver.spans if received.name == name}.values())


def _lost(receiver: Receiver) -> list[Received]:
    """Attempts that an engine's death ended."""
    return [
        received for received in _named(receiver, "chat tiny") if received.attributes["millrace.outcome"] != "completed"
    ]
