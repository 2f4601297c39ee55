"""A ClickHouse with a generated account in it, as a process of its own: the engine opens once per process.

    with serving(folder) as url:
        connect(url, "default", "", "trace").query("SELECT count() FROM requests_final")

`python -m tests.account_server FOLDER [SEED [REQUESTS]]` prints its address and serves until its input ends.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sinks.clickhouse import migrations
from sinks.clickhouse.embedded import EmbeddedStore
from sinks.clickhouse.http import EmbeddedServer
from tests.account_data import an_account, fill

DATABASE = "trace"
REPOSITORY = Path(__file__).parents[1]


@contextmanager
def serving(folder: Path, *, seed: int = 7, requests: int = 1500, minutes: int = 12, ends_us: int = 0) -> Iterator[str]:
    """Serve the account of `an_account(...)` from `folder` and give its URL; name `ends_us` to know its rows."""
    arguments = [str(folder), str(seed), str(requests), str(minutes), str(ends_us)]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.account_server", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        url = child.stdout.readline().strip()
        assert url, f"no address; exit status {child.wait(timeout=30)}"
        yield url
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(timeout=30)


async def serve(folder: Path, *, seed: int, requests: int, minutes: int, ends_us: int) -> None:
    server = EmbeddedServer(folder, database=DATABASE)
    await server.start()
    try:
        store = EmbeddedStore(server, folder)
        await migrations.apply(store, DATABASE)
        account = an_account(seed=seed, requests=requests, minutes=minutes, ends_us=ends_us or None)
        await fill(store, DATABASE, account)
        await store.close()
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.stop()


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    values = dict(zip(("seed", "requests", "minutes", "ends_us"), map(int, numbers), strict=False))
    asyncio.run(serve(Path(path), **{"seed": 7, "requests": 1500, "minutes": 12, "ends_us": 0, **values}))
