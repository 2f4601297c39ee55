"""What tracing costs: CPU per request in the processor and in the worker, with the trace and without it.

Pairs of runs of the same requests take turns, each run on a cluster of its own. Without the trace rows are still made,
and dropped where they would be shipped; what making them costs is measured apart and added. With it come encoding,
shipping, waiting for the broker, and counting for `/metrics`. Gate: at most 8 % of either's CPU per request. After each
run the account is asked whether its requests are there, or none is.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import timeit
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import uvloop

from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.runtime.process import settle_memory
from pipeline.worker.rows import Identity, Rows
from processors.account import Account
from processors.policy import Identity as ProcessorIdentity
from sinks.clickhouse.client import connect
from tests.bench.arrivals import poisson, run_load
from tests.bench.cluster import bench_cluster, pids, streamed
from tests.bench.cpu import CpuMeter
from tests.bench.report import Report, progress
from tests.eventually import eventually
from tests.unit.processors.builders import SENDER, a_policy, a_scheduler, admit, beat
from tests.unit.worker.test_attempts import an_attempt

RPS: Final = 300.0
WARM_UP_S: Final = 2.0
PARTS: Final = ("processor", "worker")
LIMIT_PERCENT: Final = 8.0
Costs = Mapping[str, float]
"""Microseconds of CPU per request, by part."""

Make = Callable[[], object]


class Recording:
    """An account that remembers what its methods were called with, so that they can be called again."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.calls: list[Make] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A method that is remembered."""

        def call(*args: Any, **named: Any) -> Any:
            method = getattr(self._account, name)
            self.calls.append(partial(method, *args, **named))
            return method(*args, **named)

        return call


def processor_rows() -> list[Make]:
    """What makes the rows of one request in the processor: admitted, dispatched, its batch."""
    scheduler = a_scheduler()
    recording = Recording(Account(a_policy(), ProcessorIdentity(process="p", sender=SENDER)))
    scheduler._account = recording  # type: ignore[assignment]
    beat(scheduler)
    admit(scheduler, 1)
    return recording.calls


def worker_rows() -> list[Make]:
    """What makes the rows of one attempt in the worker: started, finished, its row."""
    rows, attempt = Rows(Identity(worker="w", run="w-1", deployment="bench@v1")), an_attempt()
    common: dict[str, Any] = {"trace_id": b"0" * 16}
    return [
        partial(rows.attempt_event, "attempt.started", attempt, now_us=1_000_000, **common),
        partial(rows.attempt_event, "request.finished", attempt, now_us=1_000_000, **common),
        partial(rows.request, attempt, outcome="completed", **common),
    ]


_MADE: Final[Mapping[str, Callable[[], list[Make]]]] = {"processor": processor_rows, "worker": worker_rows}


def making_us(makes: list[Make]) -> float:
    """Microseconds that making the rows of a request takes, with all that it looks up for them."""
    return 1e6 * min(timeit.repeat(lambda: [make() for make in makes], number=2000, repeat=5)) / 2000


async def one_run(seconds: float, *, is_traced: bool, seed: int) -> Costs:
    """CPU per request of one run on a new cluster.

    Raises:
        RuntimeError: a request failed.
        AssertionError: requests are not in the account, or are though nothing is traced.
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
        least = timings.completed if is_traced else 0
        await eventually(lambda: asyncio.to_thread(_is_recorded, cluster, least), within_s=60)
    if timings.failed:
        raise RuntimeError(f"{timings.failed} requests failed; the figures mean nothing")
    return {part: 1e6 * window.by_process[part] / timings.completed for part in PARTS}


def _is_recorded(cluster: LocalCluster, least: int) -> bool:
    """Whether so many requests are in the account, or none if it should have none."""
    account = cluster.settings.clickhouse
    with contextlib.closing(connect(account.http_url, account.user, account.password, account.database)) as client:
        found = int(str(client.command("SELECT count() FROM requests")))
    return found >= least if least else not found


async def bench(seconds: float, pairs: int) -> int:
    """The whole benchmark; the exit code."""
    report = Report("tracing")
    on: list[Costs] = []
    off: list[Costs] = []
    for pair in range(pairs):
        for is_traced in (True, False) if pair % 2 else (False, True):
            costs = await one_run(seconds, is_traced=is_traced, seed=pair + 1)
            (on if is_traced else off).append(costs)
            progress(f"pair {pair + 1}, {'with' if is_traced else 'without'}: {costs}")
    for part in PARTS:
        made_us = making_us(_MADE[part]())
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
