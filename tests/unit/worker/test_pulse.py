"""When heartbeats go out, and what of the engine's timings is in them."""

import asyncio
from typing import Any

from pipeline.engines.protocol import Timings
from pipeline.worker.heartbeats import COALESCE_S, Condition, Heart
from pipeline.worker.pulse import IN_FLIGHT, Pulse
from pipeline.worker.rows import Identity
from topics.codec import decode_heartbeat
from topics.fleet import BatchTiming, StepSample

IDENTITY = Identity(worker="w1", run="r", deployment="m@v1")


class _Producer:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, topic: str, value: bytes, **options: Any) -> "asyncio.Future[object]":
        self.sent.put_nowait(value)
        delivered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        delivered.set_result(None)
        return delivered


class _Patient:
    changes = 0

    def condition(self) -> Condition:
        return Condition(state="ready")

    def on_steps(self, counts: object, interval_us: int) -> None:
        """Of no interest here."""


def test_the_end_of_a_batch_is_told_at_once() -> None:
    heart = Heart(IDENTITY, engine="simulated", mode="run_to_completion")
    heart.beat(Condition(state="ready"), now_s=50.0, at_ms=0)
    assert heart.due_at_s(has_changed=True, is_urgent=True) < 50.0 + COALESCE_S / 10


def test_a_heartbeat_has_the_mode_the_timings_and_the_prefixes() -> None:
    step = StepSample(duration_us=9, decoding=2, kv_tokens=30, prefill_tokens=4)
    batch = BatchTiming(id="b1", size=3, tokens=12, service_us=700)
    condition = Condition(state="ready", timings=Timings(steps=(step,), batches=(batch,)), prefixes=[5, 6])
    beat = Heart(IDENTITY, engine="simulated", mode="run_to_completion").beat(condition, now_s=0, at_ms=0)
    assert (beat.mode, beat.samples, beat.batches) == ("run_to_completion", [step], [batch])
    assert beat.prefixes == [5, 6]


async def test_who_hurries_does_not_wait_for_changes_that_come_close_together() -> None:
    producer, now_s = _Producer(), 100.0
    heart = Heart(IDENTITY, engine="simulated")
    pulse = Pulse(producer, topic="t", worker="w1", heart=heart, patient=_Patient(), now_s=lambda: now_s)
    await pulse.beat()
    now_s += COALESCE_S / 4  # from here on time stands still: what is due later is never due
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    pulse.hurry()
    first = decode_heartbeat(await asyncio.wait_for(producer.sent.get(), 5))
    second = decode_heartbeat(await asyncio.wait_for(producer.sent.get(), 5))
    beating.cancel()
    await asyncio.wait([beating])
    assert (first.seq, second.seq) == (1, 2)


async def test_heartbeats_do_not_pile_up_while_the_broker_is_away() -> None:
    class Away(_Producer):
        """Its broker is away until `back` is done."""

        def __init__(self) -> None:
            super().__init__()
            self.back: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        async def send(self, topic: str, value: bytes, **options: Any) -> "asyncio.Future[object]":
            self.sent.put_nowait(value)
            return self.back

    producer, now_s = Away(), 100.0
    heart = Heart(IDENTITY, engine="simulated")
    pulse = Pulse(producer, topic="t", worker="w1", heart=heart, patient=_Patient(), now_s=lambda: now_s)
    for _ in range(IN_FLIGHT):
        await pulse.beat()
    now_s += 3600  # the next one is due
    beating = asyncio.create_task(pulse.run())
    for _ in range(20):
        await asyncio.sleep(0)
    waiting = producer.sent.qsize()
    producer.back.set_result(None)
    seqs = [decode_heartbeat(await asyncio.wait_for(producer.sent.get(), 5)).seq for _ in range(IN_FLIGHT + 1)]
    beating.cancel()
    await asyncio.wait([beating])
    assert waiting == IN_FLIGHT
    assert seqs == list(range(1, IN_FLIGHT + 2))
