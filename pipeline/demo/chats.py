"""The demo's conversations: one question whose answer is printed as it comes, then a burst of many at once."""

import asyncio
import sys
from collections.abc import Sequence

from rich.live import Live

from pipeline.client import Client
from pipeline.demo.board import Board, LaneCounts
from pipeline.demo.prompts import Prompt, bursty_arrivals
from topics.errors import PipelineError

REFRESH_S = 0.2


async def ask_aloud(client: Client, *, model: str, question: str) -> None:
    """Ask one question and write the tokens to stdout as they arrive."""
    stream = client.stream(model=model, messages=[{"role": "user", "content": question}], max_tokens=32, temperature=0)
    async for delta in stream:
        sys.stdout.write(delta.text)
        sys.stdout.flush()
    sys.stdout.write("\n")


async def chat_burst(clients: dict[str, Client], *, model: str, prompts: Sequence[Prompt], live: Live) -> Board:
    """Send all prompts at bursty moments and follow every answer to its end; `live` shows the board meanwhile."""
    classes = tuple(dict.fromkeys(prompt.latency_class for prompt in prompts))
    board = Board(classes, title=f"{len(prompts)} chats, {len(classes)} classes, {len(clients)} tenants")
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    shown = asyncio.create_task(_show(board, live, begin_s))
    chats = [
        asyncio.create_task(
            _chat_at(begin_s + at_s, clients[prompt.tenant], model, prompt, board.lanes[prompt.latency_class])
        )
        for prompt, at_s in zip(prompts, bursty_arrivals(len(prompts)), strict=True)
    ]
    try:
        await asyncio.gather(*chats)
    finally:
        shown.cancel()
        for chat in chats:
            chat.cancel()
    live.update(board.table(loop.time() - begin_s), refresh=True)
    return board


async def _chat_at(due_s: float, client: Client, model: str, prompt: Prompt, lane: LaneCounts) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, due_s - loop.time()))
    sent_s, has_begun = loop.time(), False
    lane.on_sent()
    try:
        stream = client.stream(
            model=model,
            messages=[{"role": "user", "content": prompt.prompt}],
            max_tokens=prompt.max_tokens,
            latency_class=prompt.latency_class,
        )
        async for delta in stream:
            if not has_begun:
                has_begun = True
                lane.on_first_token(loop.time() - sent_s)
            lane.on_tokens(len(delta.token_ids))
    except PipelineError:
        lane.on_end(had_begun=has_begun, completed=False)
    else:
        lane.on_end(had_begun=has_begun, completed=True)


async def _show(board: Board, live: Live, begin_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        live.update(board.table(loop.time() - begin_s), refresh=True)
        await asyncio.sleep(REFRESH_S)
