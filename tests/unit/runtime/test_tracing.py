"""A shipper that has died says so: its process must not go on without acknowledging anything."""

import asyncio

import pytest

from pipeline.runtime import tracing
from pipeline.runtime.tracing import TraceShipper, Untraced
from topics.errors import TransportError
from topics.trace_rows import EventRow, Row, TextRow


class Faulty:
    """A producer with a fault that is no error of Kafka."""

    async def send(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError


def a_row() -> EventRow:
    return EventRow(ts=1, kind="request.admitted", component="processor", process="p")


def a_text(chars: int) -> TextRow:
    return TextRow(
        ts=1,
        request_id="r",
        lane_topic="lane",
        lane_partition=0,
        lane_offset=0,
        attempt="a",
        tenant="t",
        latency_class="bulk",
        model="m",
        deployment="m@v1",
        prompt="x" * chars,
        answer="",
    )


async def test_a_fault_of_the_shipping_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "INTERVAL_S", 0)
    shipper = TraceShipper(Faulty(), process="p", topic="trace")
    await shipper.start()
    shipper.add(a_row())
    with pytest.raises(TransportError, match="no longer shipped to trace: ZeroDivisionError") as told:
        await asyncio.wait_for(shipper.failed, 10)
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    assert "nothing more is acknowledged" in caplog.text
    await shipper.stop()
    assert shipper.delivered == 0


async def test_a_shipper_that_is_stopped_has_not_failed() -> None:
    shipper = TraceShipper(Faulty(), process="p", topic="trace")
    await shipper.start()
    await shipper.stop()
    assert not shipper.failed.done()


class Taking:
    """A producer whose broker takes everything."""

    async def send(self, *_: object, **__: object) -> "asyncio.Future[None]":
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken


async def test_rows_are_told_when_the_broker_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "INTERVAL_S", 0)
    told: list[Row] = []
    shipper = TraceShipper(Taking(), process="p", on_delivered=told.extend)
    await shipper.start()
    mark = shipper.add(a_row())
    assert told == []
    await asyncio.wait_for(shipper.wait_delivered(mark), 10)
    await shipper.stop()
    assert told == [a_row()]


async def test_texts_count_for_as_many_rows_as_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "INTERVAL_S", 0)
    shipper = TraceShipper(Taking(), process="p")
    marks = [shipper.add(a_text(5 * tracing.ROW_CHARS)), shipper.add(a_row()), shipper.add(a_text(0))]
    await shipper.start()
    await asyncio.wait_for(shipper.wait_delivered(marks[-1]), 10)
    await shipper.stop()
    assert (marks, shipper.delivered) == ([6, 7, 8], 8)


async def test_rows_that_the_broker_did_not_take_are_not_told() -> None:
    told: list[Row] = []
    shipper = TraceShipper(Faulty(), process="p", on_delivered=told.extend)
    shipper.add(a_row())
    await shipper.stop()
    assert (told, shipper.failed.done()) == ([], True)


async def test_an_untraced_process_waits_for_no_row() -> None:
    shipper = Untraced(Faulty(), process="p")
    await shipper.start()
    mark = shipper.add(a_row())
    await asyncio.wait_for(shipper.wait_delivered(mark), 10)
    await shipper.stop()
    assert (mark, shipper.delivered, shipper.failed.done()) == (1, 1, False)
