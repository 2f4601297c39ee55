"""Readers come and go: closing a stream ends its request, a killed client does not, anybody reads on from the log."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeline.client import Client, Delta
from pipeline.local.cluster import LocalCluster
from tests.eventually import eventually
from tests.scenarios.conftest import StartCluster
from tests.scenarios.wire import Wire
from topics.errors import Cancelled

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

TOKENS = 300
READER = """
import sys
from pipeline.client import SyncClient
with SyncClient(brokers=sys.argv[1]) as client:
    for delta in client.stream(model="tiny", prompt="x", id=sys.argv[2], max_tokens=int(sys.argv[3]), ignore_eos=True):
        sys.stdout.write(f"{delta.last_seq}\\n")
        sys.stdout.flush()
"""


@asynccontextmanager
async def _program(cluster: LocalCluster, request_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A client in a process of its own, killed at the end of the block."""
    arguments = (cluster.settings.kafka.brokers, request_id, str(TOKENS))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def _read_some(process: asyncio.subprocess.Process, count: int) -> int:
    """`last_seq` of the last of the first deltas that the program has seen."""
    assert process.stdout is not None
    lines = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(count)]
    return int(lines[-1])


async def test_readers_leave_and_others_read_on(start_cluster: StartCluster) -> None:
    slow = 'deployments."tiny@v1".fixed_us=10000'
    cluster = await asyncio.to_thread(start_cluster, slow)
    async with Client(kafka=cluster.settings.kafka) as client, Wire(cluster.settings) as wire:
        async with _program(cluster, "killed") as program:
            last_seq = await _read_some(program, 5)

        pieces = [delta async for delta in client.resume("killed", after_seq=last_seq)]
        again = [delta async for delta in client.resume("killed", after_seq=last_seq)]
        whole = await client.resume("killed").result()

        assert pieces == again
        tokens = [token for piece in pieces for token in piece.token_ids]
        assert (len(whole.token_ids), tokens) == (TOKENS, whole.token_ids[last_seq + 1 :])
        assert whole.text.endswith("".join(piece.text for piece in pieces))

        stream = client.stream(model="tiny", prompt="x", max_tokens=TOKENS, ignore_eos=True, id="closed")
        async for _ in stream:
            break
        await stream.aclose()
        with pytest.raises(Cancelled):
            await client.resume("closed").result()
        assert stream.origin is not None
        answers = await wire.answers([whole.origin, stream.origin], within_s=30)
        assert [answers[origin].outcome for origin in (whole.origin, stream.origin)] == ["completed", "cancelled"]


async def test_a_resumed_reader_is_told_of_a_dead_worker(start_cluster: StartCluster) -> None:
    slow = 'deployments."tiny@v1".fixed_us=10000'
    cluster = await asyncio.to_thread(start_cluster, slow)
    async with Client(kafka=cluster.settings.kafka) as client:
        handle = await client.submit(model="tiny", prompt="x", max_tokens=TOKENS, ignore_eos=True, stream=True)
        before = [seq async for delta in _first(client, handle.id, 5) for seq in range(delta.seq, delta.last_seq + 1)]
        (name,) = cluster.names("worker")
        cluster.children[name].kill()
        await asyncio.to_thread(cluster.restart, name)

        resumed = client.resume(handle.id, after_seq=before[-1], origin=handle.origin)
        seen: list[int] = list(before)
        async for delta in resumed:
            if delta.restarted:
                seen.clear()
            else:
                seen.extend(range(delta.seq, delta.last_seq + 1))

        assert seen == list(range(TOKENS))
        assert (await resumed.result()).text == (await handle.result()).text
        await eventually(lambda: not client._connection._followers)


async def _first(client: Client, request_id: str, count: int) -> AsyncIterator[Delta]:
    resumed = client.resume(request_id)
    async for delta in resumed:
        yield delta
        count -= 1
        if not count:
            return
