"""Spans on their way to a real OTLP receiver, which is there or not."""

import asyncio

import pytest

from sinks.otel import export
from sinks.otel.export import MAX_SPANS, SpanExport
from sinks.otel.spans import spans_of
from tests.eventually import eventually
from tests.otlp import receiving
from tests.unit.metrics.rows import a_request

pytestmark = pytest.mark.integration

SPANS = spans_of(a_request())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr(export, "RETRY_S", (0.05,))


async def test_spans_arrive_in_exports_of_bounded_size() -> None:
    many = [span for offset in range(100) for span in spans_of(a_request(lane_offset=offset))]
    with receiving() as receiver:
        exporting = SpanExport(receiver.url, asyncio.Event())
        assert await exporting.export(many)
        await exporting.close()
    assert receiver.requests == -(-len(many) // MAX_SPANS)
    assert len({received.id for received in receiver.spans}) == len(many) == exporting.exported


async def test_compression_is_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with receiving() as receiver:
        exporting = SpanExport(f"{receiver.url}/", asyncio.Event())
        assert await exporting.export(SPANS)
        await exporting.close()
    assert len(receiver.spans) == len(SPANS)


async def test_spans_wait_for_a_receiver_that_is_away() -> None:
    with receiving() as receiver:
        receiver.status = 503
        exporting = SpanExport(receiver.url, asyncio.Event())
        task = asyncio.create_task(exporting.export(SPANS))
        await eventually(lambda: receiver.requests > 2)
        assert not task.done()
        receiver.status = 200
        assert await asyncio.wait_for(task, 10)
        await exporting.close()
    # A try that was answered too late to count is made again: the same spans under the same ids.
    assert (len({received.id for received in receiver.spans}), exporting.given_up) == (len(SPANS), 0)


async def test_a_stop_ends_the_waiting() -> None:
    stop = asyncio.Event()
    with receiving() as receiver:
        receiver.status = 503
        exporting = SpanExport(receiver.url, stop)
        task = asyncio.create_task(exporting.export(SPANS))
        await eventually(lambda: receiver.requests > 0)
        stop.set()
        assert await asyncio.wait_for(task, 10) is False
        await exporting.close()


async def test_what_alone_is_refused_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as receiver:
        receiver.refuses = lambda spans: spans > 0
        exporting = SpanExport(receiver.url, asyncio.Event())
        assert await exporting.export(SPANS)
        await exporting.close()
    assert (exporting.exported, exporting.given_up) == (0, len(SPANS))
    assert "refused by the receiver and given up" in caplog.text
