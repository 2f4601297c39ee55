"""How fast the account is written and asked: `make bench-account`.

Ingest: a backlog of events on the trace topic, recorded by a recorder that has one core and nothing else to do, from
when it is ready until its position is at the end. Merges wait meanwhile and go on afterwards: the parts that are left
and the CPU time per event, merges so far included, are told beside. Questions: five million events and half a million
requests over a day; every named query over all of it, and six of a dashboard at once, from six clients, over HTTP.
Both: the six ask a recorder that owns all of it and records a backlog meanwhile, with the two cores that everybody
shares.

`python -m tests.bench.account PART...` runs parts of it (questions, reports, dashboard, ingest, both), and keeps of the
file what they do not measure.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.client import connect
from sinks.clickhouse.queries import Query, load_queries
from tests.bench.cpu import CpuMeter
from tests.bench.report import RESULTS, Gate, Report, progress
from tests.bench.trace_log import trace_topics
from tests.integration.sinks.recording import RecorderProcess, Sender, TraceTopics, an_event
from topics.arrow import numbers, stream
from topics.trace import MAX_ROWS, batch_of

EVENTS: Final = 5_000_000
REQUESTS: Final = 500_000
INGESTED: Final = 1_500_000
INGESTED_BESIDE: Final = 4_000_000
TEMPLATES: Final = 40
"""Different messages; the backlog repeats them at later times, as to encode it would take longer than to record it."""
POLL_S: Final = 0.2
"""How often the recorder that is measured is asked how far it has come: asking costs it some of its core."""
PARTS: Final = ("questions", "reports", "dashboard", "ingest", "both")
REPORTS: Final = ("report_", "trace_", "grafana_", "panel_")
"""Beginnings of the names of queries that belong to a view."""
ROUNDS: Final = 5
DASHBOARD_ROUNDS: Final = 12
DASHBOARD: Final = ("latency_over_time", "throughput", "queue_depth", "batch_sizes", "slo_attainment", "idle_cost")

INGEST_EVENTS_PER_S: Final = 150_000.0
QUERY_MS: Final = 500.0
DASHBOARD_MS: Final = 1000.0


def main(parts: list[str]) -> int:
    report = Report("account")
    chosen = set(parts or PARTS)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        if chosen - {"ingest", "both"}:
            with volume(Path(folder) / "volume") as url:
                ask(url, chosen, report)
        if "ingest" in chosen:
            asyncio.run(ingest(Path(folder) / "ingest", report))
        if "both" in chosen:
            asyncio.run(both(Path(folder) / "both", report))
    if parts:
        keep_the_rest(report)
    return report.finish()


def ask(url: str, chosen: set[str], report: Report) -> None:
    """The parts that ask."""
    for query in load_queries().values():
        if ("reports" if query.name.startswith(REPORTS) else "questions") in chosen:
            ask_everything(url, query, report)
    if "dashboard" in chosen:
        ask_dashboard(url, report)


def keep_the_rest(report: Report) -> None:
    """What the file has of parts that were not measured now."""
    path = RESULTS / f"{report.name}.json"
    if not path.exists():
        return
    before = msgspec.json.decode(path.read_bytes())
    measured = {gate.gate for gate in report.gates}
    report.figures = {**before["figures"], **report.figures}
    report.gates[:0] = [Gate(**gate) for gate in before["gates"] if gate["gate"] not in measured]


@contextlib.contextmanager
def volume(folder: Path) -> Iterator[str]:
    """The URL of a ClickHouse with the volume in it."""
    command = [sys.executable, "-m", "tests.bench.account_child", str(folder), str(REQUESTS), str(EVENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        url = child.stdout.readline().strip()
        if not url:
            raise SystemExit("the database could not be filled")
        yield url
        child.stdin.close()


def ask_everything(url: str, query: Query, report: Report) -> None:
    """The median of `ROUNDS` of a named query, over all data."""
    took = [timed(url, query, everything_of(query)) for _ in range(ROUNDS)]
    report.at_most(f"{query.name}_ms", statistics.median(took), QUERY_MS)
    progress(f"{query.name}: {statistics.median(took):.0f} ms")


def everything_of(query: Query) -> dict[str, str]:
    """Values that make a query look at the whole day."""
    now_s = int(time.time())
    whole = {"hours": "24", "id": "r3", "from": str(now_s - 86_400), "to": str(now_s), "step": "300", "limit": "20"}
    given = {p.name: whole[p.name] for p in query.parameters if p.name in whole}
    return query.values({name: value for name, value in given.items() if name != "limit" or _needs(query, name)})


def _needs(query: Query, name: str) -> bool:
    return any(p.name == name and p.default is None for p in query.parameters)


def timed(url: str, query: Query, values: dict[str, str]) -> float:
    """Milliseconds until all rows are here."""
    with contextlib.closing(connect(url, "default", "", "trace")) as client:
        return asked(client, query, values)


def asked(client: Client, query: Query, values: dict[str, str]) -> float:
    """Milliseconds until all rows are here."""
    began = time.perf_counter()
    client.query(query.text, parameters=values)
    return (time.perf_counter() - began) * 1000


class Dashboard:
    """Six queries that are asked at once, each by a client of its own that stays connected; a context."""

    def __init__(self, url: str) -> None:
        self._threads = ThreadPoolExecutor(len(DASHBOARD))
        self._clients = [connect(url, "default", "", "trace") for _ in DASHBOARD]
        known = load_queries()
        self._queries = [known[name] for name in DASHBOARD]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown()
        for client in self._clients:
            client.close()

    def round(self, hours: str) -> list[float]:
        """Milliseconds of each."""
        values = [query.values({"hours": hours}) for query in self._queries]
        return list(self._threads.map(asked, self._clients, self._queries, values))


def ask_dashboard(url: str, report: Report) -> None:
    """Six queries at once, of the last hour and of the whole day."""
    with Dashboard(url) as dashboard:
        for hours in ("1", "24"):
            took = [ms for _ in range(DASHBOARD_ROUNDS) for ms in dashboard.round(hours)]
            tell_dashboard(report, f"dashboard_{hours}h", took)


def tell_dashboard(report: Report, name: str, took: list[float]) -> None:
    report.figure(f"{name}_p50_ms", statistics.median(took))
    report.at_most(f"{name}_p95_ms", statistics.quantiles(took, n=20)[-1], DASHBOARD_MS)


async def both(folder: Path, report: Report) -> None:
    """The dashboard, asked again and again while a backlog is recorded beside the volume."""
    with volume(folder / "ch") as url:
        progress(f"filled at {url}; its server ends, and the recorder takes the folder over")
    async with trace_topics(folder, partitions=1) as topics:
        await fill(topics, INGESTED_BESIDE)
        process = RecorderProcess(topics, folder)
        await process.start()
        try:
            recording = asyncio.create_task(process.recorded(await topics.ends(), within_s=600))
            ((before,),) = await process.ask("SELECT count() FROM events")
            began, took = time.perf_counter(), list[float]()
            with Dashboard(process.url) as dashboard:
                while not recording.done():
                    took += await asyncio.to_thread(dashboard.round, "24")
            await recording
            took_s = time.perf_counter() - began
            ((after,),) = await process.ask("SELECT count() FROM events")
        finally:
            await process.stop()
    report.figure("beside_ingest_events_per_s", (after - before) / took_s)
    tell_dashboard(report, "beside_ingest_24h", took)


async def ingest(folder: Path, report: Report) -> None:
    """Record a backlog with one core."""
    async with trace_topics(folder, partitions=1) as topics:
        await fill(topics, INGESTED)
        ends, process = await topics.ends(), RecorderProcess(topics, folder)
        began = time.perf_counter()
        try:
            await asyncio.to_thread(start_on_one_core, process)
            report.figure("recorder_start_s", time.perf_counter() - began)
            await asyncio.to_thread(record, process, ends, report)
        finally:
            await process.stop()


async def fill(topics: TraceTopics, events: int) -> None:
    """The backlog: messages of `MAX_ROWS` events, one after the other as a busy plant writes them."""
    templates = [
        batch_of("events", [an_event(i, detail='{"p":0.1}', origin=f"t/0/{i}") for i in range(n, n + MAX_ROWS)])
        for n in range(0, TEMPLATES * MAX_ROWS, MAX_ROWS)
    ]
    messages = events // MAX_ROWS
    began_us = time.time_ns() // 1000 - int(events / INGEST_EVENTS_PER_S * 1_000_000)
    async with Sender(topics) as sender:
        for begin in range(0, messages, TEMPLATES):
            numbered = enumerate(templates[: min(TEMPLATES, messages - begin)], begin)
            values = [message_at(began_us, number, template) for number, template in numbered]
            await asyncio.gather(*(sender.raw(value, table="events") for value in values))


def message_at(began_us: int, number: int, template: pa.RecordBatch) -> bytes:
    """A message of the rows of a template, at the times that they would have."""
    since_us = (number * MAX_ROWS + np.arange(MAX_ROWS)) * (1_000_000 / INGEST_EVENTS_PER_S)
    times = numbers(began_us + since_us.astype(np.int64), template.schema.field("ts").type)
    at = template.schema.get_field_index("ts")
    return stream(template.set_column(at, "ts", times))


def start_on_one_core(process: RecorderProcess) -> None:
    """Start it with one core for all of its threads. Runs in a thread of its own, whose affinity the child inherits."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        process.child.start()
    finally:
        os.sched_setaffinity(0, cores)
    assert os.sched_getaffinity(process.child.pid) == {max(cores)}


def record(process: RecorderProcess, ends: dict[int, int], report: Report) -> None:
    """From readiness until everything below `ends` is recorded."""
    meter, began = CpuMeter({"recorder": process.child.pid}), time.perf_counter()
    meter.start(began)
    with contextlib.closing(connect(process.url, "default", "", "trace")) as client:
        while position(client) < ends[0]:
            time.sleep(POLL_S)
        took_s = time.perf_counter() - began
        cpu_s = meter.stop(time.perf_counter()).by_process["recorder"]
        ((rows,),) = client.query("SELECT count() FROM events").result_rows
        report.figure("ingest_events", float(rows))
        report.figure("ingest_cpu_us_per_event", cpu_s / rows * 1_000_000)
        report.figure("ingest_parts_left", float(parts(client)))
        report.at_least("ingest_events_per_s_one_core", rows / took_s, INGEST_EVENTS_PER_S)


def parts(client: Client) -> int:
    """Of the events, how many parts merges have left."""
    ((count,),) = client.query("SELECT count() FROM system.parts WHERE active AND table = 'events'").result_rows
    return int(count)


def position(client: Client) -> int:
    """Up to which offset everything is recorded."""
    ((offset,),) = client.query("SELECT max(next_ko) FROM recorder_positions").result_rows
    return int(offset)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
