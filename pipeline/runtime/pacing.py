"""Requests to a broker a little apart, so that what comes close together travels together.

aiokafka sends the next produce request when the last one is answered, and fetches again as soon as a fetch brought
anything: under load thousands of requests a second with one or two records each, and every request costs the client and
the broker about 0.2 ms of CPU. Here a request begins at the earliest a `Pace` after the one before it. Unlike lingering
this does not delay a lone record. Only this module knows these insides of aiokafka; the version is pinned.
"""

import asyncio
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

SHORTEST_S: Final = 0.002
"""A third of the way from one station to the next on a quiet machine: costs little latency, halves the requests."""
LONGEST_S: Final = 0.006
"""Where a core is scarce this saves a third of all CPU, and with it the queueing that makes the tail."""
IDLE_CORES: Final = 0.3
BUSY_CORES: Final = 0.4
_SAMPLE_S: Final = 0.25


class Pace:
    """How far requests are kept apart: from `SHORTEST_S` up to `LONGEST_S` as this process uses more CPU.

    Seconds are of a monotonic clock, and of CPU time of the process.
    """

    def __init__(self) -> None:
        self._interval_s = SHORTEST_S
        self._next_s = 0.0
        self._sampled_at_s = 0.0
        self._sampled_cpu_s = 0.0

    def rest_s(self, now_s: float) -> float:
        """For how long no request may begin."""
        return max(0.0, self._next_s - now_s)

    def begin(self, now_s: float, *, cpu_s: float) -> None:
        """A request begins, `cpu_s` of CPU time after the process did."""
        elapsed_s = now_s - self._sampled_at_s
        if elapsed_s > _SAMPLE_S:
            cores = (cpu_s - self._sampled_cpu_s) / elapsed_s
            busy_ratio = min(max((cores - IDLE_CORES) / (BUSY_CORES - IDLE_CORES), 0.0), 1.0)
            self._interval_s = SHORTEST_S + busy_ratio * (LONGEST_S - SHORTEST_S)
            self._sampled_at_s, self._sampled_cpu_s = now_s, cpu_s
        self._next_s = now_s + self._interval_s


def pace_produce(producer: AIOKafkaProducer) -> None:
    """Keep the produce requests of a producer apart, for each broker. Before it is started."""
    sender = producer._sender
    send = sender._send_produce_req
    paces: dict[Any, Pace] = {}

    async def paced(node_id: Any, batches: Any) -> None:
        now = asyncio.get_running_loop().time
        pace = paces.setdefault(node_id, Pace())
        pace.begin(now(), cpu_s=time.process_time())
        await send(node_id, batches)
        if pace.rest_s(now()):
            sender._in_flight.add(node_id)  # not idle yet: records gather meanwhile
            try:
                await asyncio.sleep(pace.rest_s(now()))
            finally:
                sender._in_flight.discard(node_id)

    sender._send_produce_req = paced


class PacedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """`AIOKafkaConsumer` whose fetches are kept apart."""

    async def start(self) -> None:
        """Connect and join the group, if there is one."""
        await super().start()
        pace_fetches(self)


def pace_fetches(consumer: AIOKafkaConsumer) -> None:
    """Keep the fetches of a consumer apart, for each broker. Once it is started, which makes its fetcher."""
    fetcher = consumer._fetcher
    fetch = fetcher._proc_fetch_request
    paces: dict[Any, Pace] = {}

    async def paced(assignment: Any, node_id: Any, request: Any) -> bool:
        now = asyncio.get_running_loop().time
        pace = paces.setdefault(node_id, Pace())
        try:
            await asyncio.sleep(pace.rest_s(now()))
        except asyncio.CancelledError:
            return False  # as the fetch itself does: who stops the fetcher waits for an ordinary end
        pace.begin(now(), cpu_s=time.process_time())
        brought: bool = await fetch(assignment, node_id, request)
        return brought

    fetcher._proc_fetch_request = paced
