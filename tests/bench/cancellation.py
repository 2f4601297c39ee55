"""How soon a cancelled answer stops.

Streams of an engine whose steps take 10 ms are cancelled in mid-answer, at a steady rate; beside them others run to
their end. Timed by the broker's clock, from the record of the cancellation to the terminal record, and beside it from
the record of a request to its first token: the same way there and back. Gate: p99 <= 100 ms.
"""

import argparse
import asyncio
import sys
from typing import Final

import uvloop
from aiokafka import TopicPartition

from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.runtime.process import settle_memory
from pipeline.runtime.reading import existing_partitions, read_to, reader
from tests.bench.arrivals import percentile
from tests.bench.cluster import MESSAGES, MODEL, bench_cluster, settle, streamed
from tests.bench.report import Report, progress
from topics.codec import decode_cancellation, decode_response
from topics.errors import Cancelled
from topics.names import CANCELLATIONS, RESPONSES, Lane
from topics.responses import CancelledRequest, Delta

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


async def times(cluster: LocalCluster) -> tuple[list[float], list[float]]:
    """Milliseconds of broker time from cancellation to end, and from request to first token."""
    asked: dict[str, int] = {}
    sent: dict[str, int] = {}
    first: dict[str, int] = {}
    ended: dict[str, int] = {}
    lane = Lane(MODEL, "interactive").topic
    async with reader(cluster.settings.kafka, client_id="bench-log") as log:
        places = await existing_partitions(log, [CANCELLATIONS, RESPONSES, lane])
        log.assign(places)
        ends: dict[TopicPartition, int] = dict(await log.end_offsets(places))
        await log.seek_to_beginning(*places)
        async for records in read_to(log, ends):
            for record in records:
                if record.topic == CANCELLATIONS:
                    asked[decode_cancellation(record.value).id] = record.timestamp
                elif record.topic == lane:
                    sent[str(record.offset)] = record.timestamp
                else:
                    response = decode_response(record.value)
                    if isinstance(response, Delta):
                        first.setdefault(response.origin.rpartition("/")[2], record.timestamp)
                    elif isinstance(response, CancelledRequest):
                        ended[response.id] = record.timestamp
    stops = [float(ended[name] - at_ms) for name, at_ms in asked.items() if name in ended]
    return stops, [float(first[offset] - at_ms) for offset, at_ms in sent.items() if offset in first]


async def main(count: int) -> int:
    report = Report("cancellation")
    async with bench_cluster(*FLAGS) as cluster, Client(kafka=cluster.settings.kafka) as client:
        settle_memory()
        await settle(streamed(client), cluster, rps=SETTLING_RPS)
        progress(f"cancelling {count} streams in mid-answer")
        cancelled = await cancel_many(client, count)
        stops, starts = await times(cluster)
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
