"""The owner of an embedded engine as a process of its own: uses it directly while it serves it, and prints what it saw.

Run by the tests, because the engine opens once per process. Prints one JSON object.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from sinks.clickhouse.embedded import EmbeddedStore
from sinks.clickhouse.http import EmbeddedServer, Limits, StatementError
from sinks.clickhouse.store import PASSING_ERRORS
from tests.eventually import eventually
from tests.integration.sinks.threads import niceness_of_threads

ROWS = 10_000
ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE number % 7 = 9"


GREEDY = "SELECT length(groupArray(number)) FROM numbers(800000000)"
"""Takes eight gigabytes where nothing stops it."""
INSERTS = 20
TOTAL_BYTES = 300 << 20
"""For all statements of clients together; a single one may have more."""


class WatchedServer(EmbeddedServer):
    """Remembers how long its owner was ready to wait for clients."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self.folder = Path(path)
        self.waits_s: list[float] = []

    async def until_quiet(self, within_s: float) -> bool:
        self.waits_s.append(within_s)
        return await super().until_quiet(within_s)


async def observe(path: str) -> dict[str, Any]:
    limits = Limits(max_execution_time_s=20, max_total_memory_bytes=TOTAL_BYTES)
    server = WatchedServer(path, database="account", pool=2, limits=limits)
    await server.start()
    try:
        return {
            "merging": niceness_of_threads(os.getpid())[0],
            **await _insert_and_query(server),
            **await _fail_and_go_on(server),
            **await _serve_while_clients_are_heavy(server),
            **await _insert_while_clients_are_greedy(server),
            "second_owner": await _second_owner(path),
        }
    finally:
        await server.stop()


async def _insert_and_query(server: EmbeddedServer) -> dict[str, Any]:
    await server.execute(
        "CREATE TABLE account.t (a UInt64, s LowCardinality(String), at DateTime64(3, 'UTC'), x UInt8 DEFAULT 7)"
        " ENGINE = MergeTree ORDER BY a"
    )
    await server.execute(
        "INSERT INTO account.t (a, s, at) SELECT number, 'x', fromUnixTimestamp64Milli(1767229323456, 'UTC')"
        " FROM numbers({n:UInt64})",
        params={"n": str(ROWS)},
    )
    ((total, default),) = await server.query("SELECT count(), any(x) FROM account.t")
    ((at,),) = await server.query("SELECT any(at) FROM account.t")
    threads = await server.query("SELECT getSetting('max_threads')", settings={"max_threads": "1"})
    return {
        "total": total,
        "default": default,
        "at": str(at),
        "threads": threads[0][0],
        "arrow_rows": (await server.query_arrow("SELECT a FROM account.t LIMIT 5")).num_rows,
        "empty": await server.query("SELECT a FROM account.t WHERE a > 1000000"),
    }


async def _fail_and_go_on(server: EmbeddedServer) -> dict[str, Any]:
    codes = []
    for attempt in (
        server.execute("SELECT * FROM nosuch"),
        server.query("SELECT number, throwIf(number = 900000, 'boom') FROM numbers(1000000)"),
        server.execute("INSERT INTO account.nosuch VALUES (1)"),
        server.execute("INSERT INTO account.t (at) SELECT 'no time'"),
    ):
        try:
            await attempt
        except StatementError as error:
            codes.append(error.engine_code)
    after = await server.query("SELECT 1")
    await server.execute("INSERT INTO account.t (a) VALUES (1)")
    ((total,),) = await server.query("SELECT count() FROM account.t")
    return {"codes": codes, "after_failures": [after[0][0], total]}


async def _serve_while_clients_are_heavy(server: WatchedServer) -> dict[str, Any]:
    """Clients take every place of the pool; the owner's calls go on, and stopping ends the clients' queries."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:
        heavy = [asyncio.create_task(many.post("/", content=ENDLESS)) for _ in range(4)]
        running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT count() FROM numbers(1000%'"

        async def is_pool_used_up() -> bool:
            return await server.query(running) == [(2,)]

        await eventually(is_pool_used_up, within_s=10)
        quiet = [await server.until_quiet(0.01)]
        await _record_twice(server)
        await server.execute("INSERT INTO account.t (a) VALUES (2)")
        ((total,),) = await server.query("SELECT count() FROM account.t")
        database = (await many.post("/?readonly=1", content="SELECT currentDatabase()")).text.strip()
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)
        quiet.append(await server.until_quiet(30))
    return {"total_under_load": total, "database": database, "quiet": quiet, "waits_s": server.waits_s[1:3]}


async def _record_twice(server: WatchedServer) -> None:
    """Two inserts as the recorder makes them."""
    store = EmbeddedStore(server, server.folder)
    for _ in range(2):
        await store.insert("account.t", pa.table({"a": pa.array([3], pa.uint64())}), token="")
    await store.close()


async def _insert_while_clients_are_greedy(server: EmbeddedServer) -> dict[str, Any]:
    """Clients ask again and again for more memory than they may have together, while the owner inserts."""
    await server.execute("CREATE TABLE account.g (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    codes: list[str] = []
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def ask(many: httpx.AsyncClient, *, readonly: int) -> None:
        while True:
            answer = await many.post(f"/?max_memory_usage=0&max_execution_time=0&readonly={readonly}", content=GREEDY)
            codes.append(answer.headers.get("X-ClickHouse-Exception-Code", ""))

    async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:
        greedy = [asyncio.create_task(ask(many, readonly=number % 2)) for number in range(4)]
        await eventually(lambda: len(codes) >= len(greedy), within_s=60)
        for _ in range(INSERTS):
            await eventually(lambda: _is_inserted(server), within_s=30)
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
    ((inserted,),) = await server.query("SELECT count() FROM account.g")
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"inserted": inserted, "refusals": sorted(set(codes)), "grown_bytes": (peak_kib - before_kib) * 1024}


async def _is_inserted(server: EmbeddedServer) -> bool:
    """Clients may be ahead of the engine for a moment; what passes is tried again, as the recorder does."""
    try:
        await server.execute("INSERT INTO account.g SELECT number, repeat('x', 200) FROM numbers(20000)")
    except StatementError as error:
        if error.engine_code not in PASSING_ERRORS:
            raise
        return False
    return True


async def _second_owner(path: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sinks.clickhouse.http", "--path", path, "--port", "0", stderr=subprocess.PIPE
    )
    _, errors = await process.communicate()
    return errors.decode().strip().splitlines()[-1] if process.returncode else "started"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(observe(sys.argv[1]))))
