"""A shipper that has died says so: its process must not go on without acknowledging anything."""

import asyncio

import pytest

from pipeline.runtime import tracing
from pipeline.runtime.tracing import TraceShipper
from topics.errors import TransportError
from topics.trace import EventRow


class Faulty:
    """A producer with a fault that is no error of Kafka."""

    async def send(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError


def a_row() -> EventRow:
    return EventRow(ts=1, kind="request.admitted", component="processor", process="p")


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
