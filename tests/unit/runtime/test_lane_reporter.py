"""Figures of lanes are told once a shard, and not while the broker has not taken those before."""

import asyncio
import logging
from typing import Any

import pytest

from pipeline.processor.reports import LaneReporter
from topics.codec import decode_workers_record
from topics.fleet import LaneReport


class _Broker:
    """A producer whose records are taken when told so."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.pending: list[asyncio.Future[Any]] = []

    async def send(self, topic: str, value: bytes, *, key: bytes, partition: int) -> "asyncio.Future[Any]":
        self.sent.append((topic, key, value))
        self.pending.append(asyncio.get_running_loop().create_future())
        return self.pending[-1]


def _reports() -> list[LaneReport]:
    return [LaneReport(processor="p", model="m", shard=shard, at_ms=1, lanes=[]) for shard in (0, 1)]


async def test_each_shard_has_a_record_of_its_own_among_the_heartbeats() -> None:
    broker = _Broker()
    await LaneReporter(broker, _reports, now_s=lambda: 0.0).report()
    assert [(topic, key) for topic, key, _ in broker.sent] == [
        ("inference.workers.m", b"p/0"),
        ("inference.workers.m", b"p/1"),
    ]
    assert [decode_workers_record(value) for _, _, value in broker.sent] == _reports()


async def test_nothing_is_piled_up_in_front_of_a_broker_that_is_away() -> None:
    broker = _Broker()
    reporter = LaneReporter(broker, _reports, now_s=lambda: 0.0)
    for _ in range(3):
        await reporter.report()
    assert len(broker.sent) == 2
    for pending in broker.pending:
        pending.set_result(None)
    await reporter.report()
    assert len(broker.sent) == 4


async def test_a_record_that_was_refused_is_said_and_the_next_one_goes_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = _Broker()
    reporter = LaneReporter(broker, _reports, now_s=lambda: 0.0)
    await reporter.report()
    for pending in broker.pending:
        pending.set_exception(RuntimeError("refused"))
    with caplog.at_level(logging.WARNING):
        await asyncio.sleep(0)
    await reporter.report()
    assert [record.getMessage() for record in caplog.records] == [
        "figures of lanes were not told: RuntimeError('refused')"
    ]
    assert len(broker.sent) == 4
