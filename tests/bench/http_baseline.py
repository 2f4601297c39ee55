"""The baseline server as a child process, and the same request as over the pipeline, through aiohttp."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from infra.devstack.ports import Ports
from infra.devstack.processes import Child
from infra.devstack.readiness import listens_on
from tests.bench.arrivals import Ask
from tests.bench.cluster import MESSAGES, TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A running baseline server: its process id, and one request of 16 streamed tokens."""

    pid: int
    ask: Ask


@asynccontextmanager
async def http_baseline() -> AsyncIterator[Baseline]:
    """FastAPI with server-sent events in front of the same engine; ended with the block."""
    ports = Ports()
    port = ports.claim()
    with tempfile.TemporaryDirectory(prefix="millrace-baseline-") as folder:
        server = Child(
            name="baseline",
            command=[sys.executable, "-m", "tests.bench.baseline", str(port)],
            log=Path(folder) / "baseline.log",
            ready=listens_on(port),
        )
        try:
            await asyncio.to_thread(server.start)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
                yield Baseline(pid=server.pid, ask=_asking(session))
        finally:
            await asyncio.to_thread(server.stop)
            ports.release()


def _asking(session: aiohttp.ClientSession) -> Ask:
    body = {"messages": MESSAGES, "max_tokens": TOKENS, "stream": True}

    async def ask(on_first_token: Callable[[], None]) -> int:
        tokens = 0
        async with session.post("/v1/chat/completions", json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    if not tokens:
                        on_first_token()
                    tokens += 1
        return tokens

    return ask
