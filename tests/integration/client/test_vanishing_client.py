"""A client that is killed leaves its request alone: the answer waits in the log for whoever comes."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from pipeline.client import Client
from tests.integration.client.responder import Responder

pytestmark = pytest.mark.integration


@pytest.fixture
async def program(responder: Responder) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = (responder.settings.brokers, responder.pool, responder.lane.model)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.client.vanishing", *arguments, stdout=asyncio.subprocess.PIPE
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_a_killed_client_cancels_nothing_and_another_reads_on(
    program: asyncio.subprocess.Process, client: Client, responder: Responder
) -> None:
    assert program.stdout is not None
    asked = await responder.asked()
    await responder.say(asked, asked.started(), asked.delta(0, "one"), asked.delta(1, "two"))
    said = [await asyncio.wait_for(program.stdout.readline(), 20) for _ in range(2)]
    program.kill()
    await program.wait()
    await responder.say(asked, asked.delta(2, "three"), asked.completed(3))

    last_seq = int(said[-1].split()[0])
    rest = [delta.text async for delta in client.resume("order-42", after_seq=last_seq)]

    assert (said, rest) == ([b"0 one\n", b"1 two\n"], ["three"])
    await client.cancel("marker", model=responder.lane.model)
    assert (await responder.cancelled()).id == "marker"
