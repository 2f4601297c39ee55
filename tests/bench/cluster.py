"""The cluster that benchmarks run on: every process real, the engine free of cost, tracing and recorder running."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from infra.devstack.properties import BrokerSettings
from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from tests.bench.arrivals import Ask, poisson, run_load
from tests.bench.cpu import CpuMeter
from tests.bench.report import progress

CONFIG: Final = Path(__file__).with_name("millrace.toml")
MODEL: Final = "bench"
TOKENS: Final = 16
LONG_LIVED: Final = BrokerSettings(is_short_lived=False)
SETTLING_RPS: Final = 1000.0
SETTLING_S: Final = 5.0
MOST_SETTLING: Final = 8
SETTLED_RATIO: Final = 0.9
MESSAGES: Final = [{"role": "user", "content": "x" * 200}]


@asynccontextmanager
async def bench_cluster(*flags: str) -> AsyncIterator[LocalCluster]:
    """A cluster in a temporary folder, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        cluster = LocalCluster(folder=Path(folder), config=CONFIG, flags=flags, broker=LONG_LIVED)
        try:
            await asyncio.to_thread(cluster.start)
            yield cluster
        finally:
            await asyncio.to_thread(cluster.stop)


def pids(cluster: LocalCluster) -> dict[str, int]:
    """Process ids by part: broker, processor, worker, recorder, and this program as the client."""
    assert cluster.broker.child is not None
    parts = {name.partition("-")[0]: child.pid for name, child in cluster.children.items()}
    return {"broker": cluster.broker.child.pid, **parts, "client": os.getpid()}


async def settle(ask: Ask, cluster: LocalCluster, *, rps: float = SETTLING_RPS) -> None:
    """Load that nobody measures, until the broker's CPU per request falls no more: before, its compiler is measured."""
    best_us = float("inf")
    for seed in range(MOST_SETTLING):
        meter = CpuMeter({"broker": pids(cluster)["broker"]})
        meter.start(time.monotonic())
        timings = await run_load(ask, poisson(rps, SETTLING_S, seed=seed))
        used_s = meter.stop(time.monotonic()).by_process["broker"]
        used_us = 1e6 * used_s / max(1, timings.completed)
        progress(f"settling: the broker needs {used_us:.0f} us per request")
        if used_us > SETTLED_RATIO * best_us:
            return
        best_us = used_us


def streamed(client: Client, latency_class: str = "interactive") -> Ask:
    """A request of 16 streamed tokens through the SDK."""

    async def ask(on_first_token: Callable[[], None]) -> int:
        tokens = 0
        stream = client.stream(model=MODEL, messages=MESSAGES, max_tokens=TOKENS, latency_class=latency_class)
        async for delta in stream:
            if not tokens:
                on_first_token()
            tokens += len(delta.token_ids)
        return tokens

    return ask
