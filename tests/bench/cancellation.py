"""How soon a cancelled answer stops.

Streams of an engine whose steps take 10 ms are cancelled in mid-answer, at a steady rate. Timed by the broker's clock,
from the record of the cancellation to the terminal record, and beside it from the record of a request to its first
token: the same way there and back. Gate: p99 <= 100 ms.
"""

import argparse
import asyncio
import sys
from typing import Final

import uvloop

from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.runtime.process import settle_memory
from pipeline.runtime.reading import Record, begin, existing_partitions, read_to, reader
from tests.bench.cluster import MESSAGES, MODEL, bench_cluster, settle, streamed
from tests.bench.report import Report, percentile, progress
from topics.codec import decode_cancellation, decode_response
from topics.errors import Cancelled
from topics.names import CANCELLATIONS, RESPONSES, Lane
from topics.responses import CancelledRequest, Delta, Response

LANE: Final = Lane(MODEL, "interactive").topic
FLAGS: Final = ('deployments."bench@v1".fixed_us=10000', 'deployments."bench@v1".max_sequences=256')
SETTLING_RPS: Final = 200.0
TOKENS: Final = 3000
AFTER_TOKENS: Final = 8
EVERY_S: Final = 0.02
LIMIT_MS: Final = 100.0


async def one(client: Client, name: str) -> bool:
    """Cancel one stream once it has a few tokens: whether it was cancelled."""
    stream = client.stream(model=MODEL, id=name, messages=MESSAGES, max_tokens=TOKENS, temperature=1, ignore_eos=True)
    asked = False
    try:
        async for delta in stream:
            if not asked and delta.last_seq >= AFTER_TOKENS:
                asked = True
                await client.cancel(name, model=MODEL)
    except Cancelled:
        return True
    return False


async def cancel_many(client: Client, count: int) -> int:
    """Cancel streams one every `EVERY_S` seconds; returns how many were."""
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(one(client, f"cancel-{number}")))
        await asyncio.sleep(EVERY_S)
    return sum(await asyncio.gather(*tasks))


class Times:
    """Broker times in milliseconds: of cancellations and their ends by request id, of requests and their first tokens
    by offset on the lane.
    """

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._first: dict[str, int] = {}

    def feed(self, record: Record) -> None:
        """The next record of its partition."""
        if record.topic == CANCELLATIONS:
            self._asked[decode_cancellation(record.value).id] = record.timestamp
        elif record.topic == LANE:
            self._sent[str(record.offset)] = record.timestamp
        else:
            self._on_response(decode_response(record.value), record.timestamp)

    @property
    def stops_ms(self) -> list[int]:
        """From cancellation to end."""
        return _between(self._asked, self._ended)

    @property
    def starts_ms(self) -> list[int]:
        """From request to first token."""
        return _between(self._sent, self._first)

    def _on_response(self, response: Response, at_ms: int) -> None:
        if isinstance(response, Delta):
            self._first.setdefault(response.origin.rpartition("/")[2], at_ms)
        elif isinstance(response, CancelledRequest):
            self._ended[response.id] = at_ms


def _between(begun: dict[str, int], ended: dict[str, int]) -> list[int]:
    return [ended[name] - at_ms for name, at_ms in begun.items() if name in ended]


async def read_times(cluster: LocalCluster) -> Times:
    """What the logs say."""
    times = Times()
    async with reader(cluster.settings.kafka, client_id="bench-log") as log:
        ends = await begin(log, await existing_partitions(log, [CANCELLATIONS, RESPONSES, LANE]))
        async for records in read_to(log, ends):
            for record in records:
                times.feed(record)
    return times


async def main(count: int) -> int:
    report = Report("cancellation")
    async with bench_cluster(*FLAGS) as cluster, Client(kafka=cluster.settings.kafka) as client:
        settle_memory()
        await settle(streamed(client), cluster, rps=SETTLING_RPS)
        progress(f"cancelling {count} streams in mid-answer")
        cancelled = await cancel_many(client, count)
        times = await read_times(cluster)
    stops, starts = times.stops_ms, times.starts_ms
    report.figure("stopped_p50_ms", percentile(stops, 0.50))
    report.figure("stopped_p99_ms", percentile(stops, 0.99))
    report.figure("first_token_p50_ms", percentile(starts, 0.50))
    report.figure("first_token_p99_ms", percentile(starts, 0.99))
    report.figure("ratio_p50", percentile(stops, 0.50) / max(percentile(starts, 0.50), 1.0))
    report.at_least("streams that were cancelled", cancelled, count)
    report.at_most(
        "from the record of a cancellation to the end of its stream, p99 ms", percentile(stops, 0.99), LIMIT_MS
    )
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500, help="streams to cancel (default: 500)")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main(parser.parse_args().streams)))
