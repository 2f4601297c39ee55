"""What tracing costs: CPU per request in the processor and in the worker, with the trace and without it.

Pairs of runs of the same requests take turns, each run on a cluster of its own. Without the trace rows are still made,
and dropped where they would be shipped; what making them costs is measured apart and added. With it come encoding,
shipping, waiting for the broker, and counting for `/metrics`. Gate: at most 8 % of either's CPU per request.
"""

import argparse
import asyncio
import statistics
import sys
import timeit
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import uvloop

from pipeline.client import Client
from pipeline.runtime.process import settle_memory
from tests.bench.arrivals import poisson, run_load
from tests.bench.cluster import bench_cluster, pids, streamed
from tests.bench.cpu import CpuMeter
from tests.bench.report import Report
from topics.trace import BatchRow, EventRow, RequestRow

RPS: Final = 300.0
WARM_UP_S: Final = 2.0
PARTS: Final = ("processor", "worker")
LIMIT_PERCENT: Final = 8.0
Costs = Mapping[str, float]
"""Microseconds of CPU per request, by part."""

_EVENT: Final = EventRow(
    ts=10**15,
    kind="request.admitted",
    component="worker",
    process="p",
    request_id="r",
    tenant="acme",
    latency_class="interactive",
    model="bench",
    deployment="bench@v1",
)
_REQUEST: Final = RequestRow(
    request_id="r",
    lane_topic="inference.requests.bench.interactive",
    lane_partition=0,
    lane_offset=1,
    produced_ts=10**15,
    outcome="completed",
    tenant="acme",
    latency_class="interactive",
    model="bench",
    deployment="bench@v1",
)
_BATCH: Final = BatchRow(
    batch_id="b",
    formed_ts=10**15,
    model="bench",
    deployment="bench@v1",
    latency_class="interactive",
    worker="w",
    processor="p",
    size=1,
    size_limit=8,
)
_MADE: Final[Mapping[str, tuple[msgspec.Struct, ...]]] = {
    "processor": (_EVENT, _EVENT, _BATCH),
    "worker": (_EVENT, _EVENT, _REQUEST),
}
"""Rows of a request at each part."""


def making_us(rows: tuple[msgspec.Struct, ...]) -> float:
    """Microseconds that making such rows takes, all fields given."""
    fields: list[tuple[type[msgspec.Struct], dict[str, Any]]] = [
        (type(row), msgspec.structs.asdict(row)) for row in rows
    ]

    def make() -> None:
        for kind, values in fields:
            kind(**values)

    return 1e6 * min(timeit.repeat(make, number=2000, repeat=5)) / 2000


async def one_run(seconds: float, *, is_traced: bool, seed: int) -> Costs:
    """CPU per request of one run on a new cluster.

    Raises:
        RuntimeError: a request failed.
    """
    async with (
        bench_cluster(f"trace.enabled={str(is_traced).lower()}") as cluster,
        Client(kafka=cluster.settings.kafka) as client,
    ):
        settle_memory()
        await run_load(streamed(client), poisson(RPS, WARM_UP_S, seed=0))
        loop, meter = asyncio.get_running_loop(), CpuMeter(pids(cluster))
        meter.start(loop.time())
        timings = await run_load(streamed(client), poisson(RPS, seconds, seed=seed))
        window = meter.stop(loop.time())
    if timings.failed:
        raise RuntimeError(f"{timings.failed} requests failed; the figures mean nothing")
    return {part: 1e6 * window.by_process[part] / timings.completed for part in PARTS}


async def bench(seconds: float, pairs: int) -> int:
    """The whole benchmark; the exit code."""
    report = Report("tracing")
    on: list[Costs] = []
    off: list[Costs] = []
    for pair in range(pairs):
        for is_traced in (True, False) if pair % 2 else (False, True):
            costs = await one_run(seconds, is_traced=is_traced, seed=pair + 1)
            (on if is_traced else off).append(costs)
            sys.stderr.write(f"pair {pair + 1}, {'with' if is_traced else 'without'}: {costs}\n")
    for part in PARTS:
        made_us = making_us(_MADE[part])
        with_us = statistics.median(costs[part] for costs in on)
        without_us = statistics.median(costs[part] for costs in off) - made_us
        report.figure(f"{part}_us_per_request_traced", with_us)
        report.figure(f"{part}_us_per_request_untraced", without_us)
        report.figure(f"{part}_us_per_request_of_making_rows", made_us)
        share = statistics.median(
            100 * (one[part] - (other[part] - made_us)) / (other[part] - made_us)
            for one, other in zip(on, off, strict=True)
        )
        report.at_most(f"tracing's share of the {part}'s CPU per request, %", share, LIMIT_PERCENT)
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one run (default: 20)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs (default: 5)")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(bench(given.seconds, given.pairs)))
