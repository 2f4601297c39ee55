"""Texts go through the recorder like all rows, once, and `millrace erase` removes them from the disk."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from tests.integration.sinks.conftest import MakeTopics
from tests.integration.sinks.recording import RecorderProcess, Sender, a_request
from topics.texts import text_row
from topics.trace import encode_rows
from topics.trace_rows import Row

pytestmark = pytest.mark.integration


def texts_of(*whose: tuple[str, str]) -> list[Row]:
    rows = [a_request(i, request_id=name, tenant=tenant) for i, (name, tenant) in enumerate(whose)]
    return [text_row(row, prompt=f"user: {row.request_id}", answer="Grüße") for row in rows]


async def test_texts_are_recorded_once_and_erased(
    make_topics: MakeTopics, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    topics = await make_topics()
    process = RecorderProcess(topics, tmp_path)

    async def kept() -> list[tuple[Any, ...]]:
        return await process.ask("SELECT tenant, request_id, prompt, answer FROM texts ORDER BY request_id, tenant")

    async def erased(*words: str) -> int:
        flag = f'clickhouse.url="{process.url}"'
        assert await asyncio.to_thread(main, ["--set", flag, "--json", "erase", *words]) == 0
        return int(json.loads(capsys.readouterr().out)["rows"]["texts"])

    try:
        await process.start()
        async with Sender(topics) as sender:
            rows = texts_of(("r1", "acme"), ("r2", "acme"), ("r3", "globex"))
            await sender.raw(encode_rows("texts", rows), table="texts")
            await process.recorded(await topics.ends())
            await process.kill()
            await process.start()
            await sender.raw(encode_rows("texts", texts_of(("r4", "globex"))), table="texts")
            await process.recorded(await topics.ends())
        told = await kept()
        counts = [await erased("--request", "r1"), await erased("--tenant", "globex")]
        left = await kept()
    finally:
        await process.stop()
    assert told == [
        (tenant, name, f"user: {name}", "Grüße")
        for tenant, name in (("acme", "r1"), ("acme", "r2"), ("globex", "r3"), ("globex", "r4"))
    ]
    assert (counts, left) == ([1, 2], [("acme", "r2", "user: r2", "Grüße")])
