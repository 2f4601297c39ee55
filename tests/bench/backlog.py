"""What 100,000 waiting bulk requests cost an interactive one.

Interactive requests come at 50/s, first with an empty bulk lane, then while 100,000 bulk requests wait and are drained
at about 300/s by the same worker. Gate: the p99 of the interactive TTFT rises by no more than 20 ms.
"""

import argparse
import asyncio
import statistics
import sys
import time
from typing import Final

import msgspec
import uvloop

from pipeline.client import Client
from pipeline.demo.account import query
from pipeline.local.cluster import LocalCluster
from pipeline.runtime import kafka
from pipeline.runtime.process import settle_memory
from tests.bench.arrivals import Timings, poisson, run_load
from tests.bench.cluster import MESSAGES, MODEL, TOKENS, bench_cluster, settle, streamed
from tests.bench.report import Report
from tests.eventually import eventually
from topics.names import RESPONSES, Lane

WAITING: Final = 100_000
RPS: Final = 50.0
SETTLING_RPS: Final = 200.0
"""Half of what the engine can do."""
RUNS: Final = 3
RISE_LIMIT_MS: Final = 20.0
# Bulk leaves room for what interactive requests come meanwhile: about 25 sequences of 16 steps, 300 requests/s.
FLAGS: Final = (
    'deployments."bench@v1".fixed_us=4500',
    'deployments."bench@v1".max_sequences=48',
)


async def fill(cluster: LocalCluster) -> None:
    """Put the bulk requests on their lane; their answers go to the partition that the client does not read."""
    body = {"messages": MESSAGES, "max_tokens": TOKENS, "stream": True}
    value = msgspec.json.encode({"body": body, "reply": {"topic": RESPONSES, "partition": 1}})
    producer = kafka.producer(cluster.settings.kafka, client_id="bench-fill")
    await producer.start()
    try:
        for _ in range(WAITING // 1000):
            await asyncio.gather(*[await producer.send(Lane(MODEL, "bulk").topic, value) for _ in range(1000)])
    finally:
        await producer.stop()


async def drained(cluster: LocalCluster) -> int:
    """Bulk requests that have ended, by the account."""
    rows = await query(cluster.settings, "SELECT count() FROM requests_final WHERE latency_class = 'bulk'")
    return int(str(rows.rows[0][0]))


async def interactive(client: Client, *, seconds: float) -> list[Timings]:
    """Three runs of the interactive load."""
    return [await run_load(streamed(client), poisson(RPS, seconds, seed=seed)) for seed in range(RUNS)]


def add_figures(report: Report, name: str, runs: list[Timings]) -> float:
    """Medians over the runs; the p99 is returned, in milliseconds."""
    p99 = statistics.median(run.percentile_ms(0.99) for run in runs)
    report.figure(f"{name}_ttft_p50_ms", statistics.median(run.percentile_ms(0.50) for run in runs))
    report.figure(f"{name}_ttft_p99_ms", p99)
    report.at_most(f"failed requests, {name}", sum(run.failed for run in runs), 0)
    return p99


async def bench(seconds: float) -> int:
    """The whole benchmark; the exit code."""
    report = Report("backlog")
    async with (
        bench_cluster(*FLAGS) as cluster,
        Client(kafka=cluster.settings.kafka, reply_partition=0) as client,
    ):
        settle_memory()
        await settle(streamed(client), cluster, rps=SETTLING_RPS)
        alone = add_figures(report, "without_backlog", await interactive(client, seconds=seconds))
        await fill(cluster)
        before = await eventually(lambda: drained(cluster), within_s=60)
        begin_s = time.monotonic()
        beside = add_figures(report, "beside_backlog", await interactive(client, seconds=seconds))
        rate = (await drained(cluster) - before) / (time.monotonic() - begin_s)
    report.figure("bulk_drained_per_s", rate)
    report.figure("ratio_ttft_p99", beside / alone)
    report.at_most(
        "rise of the interactive TTFT p99 beside 100,000 waiting bulk requests, ms", beside - alone, RISE_LIMIT_MS
    )
    report.at_least("bulk requests drained per second meanwhile", rate, 250.0)
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one run (default: 20)")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(bench(parser.parse_args().seconds)))
