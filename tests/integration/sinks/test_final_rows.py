"""Of several attempts that wrote a terminal record, the account picks the one whose record readers accepted."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.sinks.conftest import MakeTopics
from tests.integration.sinks.recording import RecorderProcess, Sender, a_request
from topics.trace import encode_rows
from topics.trace_rows import RequestRow, Row

pytestmark = pytest.mark.integration

PRODUCED_US = 1_795_000_000_000_000


def ended(i: int, attempt: str, **fields: Any) -> RequestRow:
    return a_request(i, attempt=attempt, produced_ts=PRODUCED_US, final=1, **fields)


OTHERS: dict[str, int] = {"first_us": 2000, "last_us": 8000}
BEFORE: dict[str, int] = {"continued": 4, "continued_first_us": 2000, "continued_last_us": 8000}
ROWS: list[Row] = [
    # A worker was frozen, taken over twice, and wrote its end after all others.
    ended(0, "frozen", mode="fresh", started_us=100, finished_us=9000),
    ended(0, "frozen-too", mode="resume", started_us=3000, finished_us=9500),
    ended(0, "heir", mode="resume", started_us=6000, finished_us=7000),
    # Two processors have dispatched it at the same hop; who began first is heard.
    ended(1, "first", mode="fresh", started_us=100, finished_us=9000),
    ended(1, "second", mode="fresh", started_us=200, finished_us=5000),
    # Handed back: the later hop counts, whoever began later.
    ended(2, "drained", mode="resume", hop=1, started_us=9000, finished_us=9500),
    ended(2, "moved", mode="resume", hop=2, started_us=5000, finished_us=6000),
    # A processor's end is heard only where nobody began.
    ended(3, "", mode="", outcome="expired", started_us=0, finished_us=100),
    ended(3, "began", mode="fresh", started_us=50, finished_us=200),
    # What is said of a request counts the tokens before its last attempt, which may have made none.
    a_request(
        4, attempt="parked", produced_ts=PRODUCED_US, final=0, mode="fresh", started_us=100, tokens_out=4, **OTHERS
    ),
    ended(4, "went-on", mode="resume", hop=1, started_us=20_000, first_us=30_000, last_us=50_000, **BEFORE),
    ended(5, "said-all", mode="resume", started_us=20_000, first_us=0, last_us=0, tokens_out=0, **BEFORE),
    ended(6, "alone", mode="fresh", started_us=100),
]
HEARD = [(0, "heir"), (1, "first"), (2, "moved"), (3, "began"), (4, "went-on"), (5, "said-all"), (6, "alone")]
CONTINUED = (4, 5, 6)


async def test_the_end_that_readers_accepted_is_the_final_row(make_topics: MakeTopics, tmp_path: Path) -> None:
    topics = await make_topics()
    process = RecorderProcess(topics, tmp_path)
    try:
        await process.start()
        async with Sender(topics) as sender:
            await sender.raw(encode_rows("requests", ROWS), table="requests")
            await process.recorded(await topics.ends())
        final = await process.ask("SELECT lane_offset, attempt FROM requests_final ORDER BY lane_offset")
        whole = await process.ask(
            "SELECT tokens_out, continued, answer_first_us, answer_last_us, ttft_ms, tpot_ms FROM requests_final "
            f"WHERE lane_offset IN {CONTINUED} ORDER BY lane_offset"
        )
        own = await process.ask(
            "SELECT attempt, tokens_out, answer_tokens, first_us FROM attempts "
            f"WHERE lane_offset IN {CONTINUED} ORDER BY lane_offset, started_us"
        )
    finally:
        await process.stop()
    assert final == HEARD
    assert whole == [(9, 4, 2000, 50_000, 2, 6), (4, 4, 2000, 8000, 2, 2), (5, 0, 1000, 9000, 1, 2)]
    assert own == [
        ("parked", 4, 4, 2000),
        ("went-on", 5, 9, 30_000),
        ("said-all", 0, 4, 0),
        ("alone", 5, 5, 1000),
    ]
