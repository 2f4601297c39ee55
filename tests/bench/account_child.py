"""An embedded ClickHouse with the benchmark's volume in it: prints its address, serves until its input ends."""

import asyncio
import sys
from pathlib import Path

from sinks.clickhouse import migrations
from sinks.clickhouse.embedded import EmbeddedStore
from sinks.clickhouse.http import EmbeddedServer
from tests.bench.account_volume import statements

DATABASE = "trace"


async def serve(folder: Path, *, requests: int, events: int) -> None:
    server = EmbeddedServer(folder, database=DATABASE)
    await server.start()
    try:
        store = EmbeddedStore(server, folder)
        await migrations.apply(store, DATABASE)
        for statement in statements(DATABASE, requests=requests, events=events):
            await store.execute(statement)
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), requests=int(sys.argv[2]), events=int(sys.argv[3])))
