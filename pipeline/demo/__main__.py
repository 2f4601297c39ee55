"""`make demo`: starts a cluster, asks, sends a burst, shows the account, and leaves nothing behind."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console
from rich.live import Live

from infra.devstack.home import CHECKOUT
from infra.devstack.processes import ChildError
from pipeline.client import Client
from pipeline.demo.account import count_when_even, query
from pipeline.demo.chats import ask_aloud, chat_burst
from pipeline.demo.prompts import read_prompts
from pipeline.demo.views import answer_view, latency_view
from pipeline.local.cluster import LocalCluster
from pipeline.settings import Settings
from sinks.clickhouse.queries import load_queries

DEMO = CHECKOUT / "infra" / "demo"
CONFIGS = {"vllm": DEMO / "millrace.toml", "simulated": DEMO / "simulated.toml"}
MODEL = "smollm2"
QUESTION = "What is the capital of France?"
TABLES = {
    "batch_sizes": ("latency_class", "reason", "batches", "requests", "mean_size", "largest", "wait_p95_ms"),
    "engine_batches": ("steps_run", "mean_batch", "largest_batch", "most_waiting", "busy_s", "step_ms"),
    "tokens_and_engine_seconds_by_tenant": ("tenant", "requests", "prompt_tokens", "completion_tokens", "engine_s"),
}
"""Named queries that are shown, and which of their columns."""


def main() -> int:
    """Run the demo; 0 when the count came out even, 1 when it did not or something failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.demo", description=__doc__)
    parser.add_argument("--engine", choices=sorted(CONFIGS), default="vllm", help="what answers (default: vllm)")
    engine = parser.parse_args().engine
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="millrace-demo-"))
    try:
        even = _run(console, LocalCluster(folder=folder, config=CONFIGS[engine]))
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    except ChildError as error:
        console.print(f"[red]{error}[/]\nlogs are kept in {folder / 'logs'}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if even else 1


def _run(console: Console, cluster: LocalCluster) -> bool:
    def say(step: str) -> None:
        console.print(f"[dim]· {step}[/]")

    try:
        cluster.start(say)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_story(console, cluster.settings))
    finally:
        cluster.stop(say)


async def _story(console: Console, settings: Settings) -> bool:
    prompts = read_prompts(DEMO / "prompts.jsonl")
    async with contextlib.AsyncExitStack() as stack:
        clients = {
            tenant: await stack.enter_async_context(Client(kafka=settings.kafka, tenant=tenant))
            for tenant in sorted({prompt.tenant for prompt in prompts})
        }
        console.rule("one question", align="left")
        console.print(f"[bold]{QUESTION}[/]")
        await ask_aloud(clients["acme"], model=MODEL, question=QUESTION)
        console.rule("a burst", align="left")
        with Live(console=console, auto_refresh=False) as live:
            await chat_burst(clients, model=MODEL, prompts=prompts, live=live)
        console.print()
    return await _account(console, settings)


async def _account(console: Console, settings: Settings) -> bool:
    console.rule("the account, from ClickHouse", align="left")
    count = await count_when_even(settings)
    queries = load_queries()
    latency = await query(settings, queries["latency_by_class_and_station"].sql)
    console.print(latency_view(latency), "")
    for name, columns in TABLES.items():
        answer = await query(settings, queries[name].sql)
        console.print(answer_view(queries[name].title, answer, columns), "")
    sign = "=" if count.is_even else "≠"
    console.print(
        f"[bold]{count.produced} requests produced {sign} {count.terminal} terminal records {sign} {count.rows} rows[/]"
    )
    return count.is_even


if __name__ == "__main__":
    sys.exit(main())
