"""The account at the end: exactly one final row of every request, and it is that of the attempt which readers have."""

import asyncio
import time
from collections import Counter
from typing import Final

from pipeline.demo.account import query
from pipeline.settings import Settings
from tests.bench.chaos.judge import Problem, Violation
from topics.errors import TransportError
from topics.names import origin_of

RECORDED_WITHIN_S: Final = 120.0
KEY: Final = "lane_topic, lane_partition, lane_offset"

Rows = dict[str, list[str]]
"""Attempts with a final row, by origin; one entry a row."""


async def final_rows(settings: Settings, wanted: set[str]) -> Rows:
    """The final rows, once there is one of every wanted origin or two minutes have passed."""
    give_up_at_s = time.monotonic() + RECORDED_WITHIN_S
    while True:
        rows = await _rows(settings)
        if wanted <= rows.keys() or time.monotonic() > give_up_at_s:
            return rows
        await asyncio.sleep(1)


async def raw_doubles(settings: Settings) -> int:
    """Origins with more than one final row before the view has picked one: told twice, or by a former owner too."""
    table = f"{settings.clickhouse.database}.requests"
    answer = await query(
        settings, f"SELECT count() FROM (SELECT 1 FROM {table} WHERE final = 1 GROUP BY {KEY} HAVING count() > 1)"
    )
    return int(str(answer.rows[0][0]))


def check_rows(rows: Rows, accepted: dict[str, tuple[str, str]], *, doubled: frozenset[str]) -> list[Violation]:
    """What is wrong with the account.

    Args:
        rows: as stored.
        accepted: request id and attempt of every answer that readers have to its end, by origin.
        doubled: origins that were dispatched twice at one hop. Two whole answers were made then, within moments, and
            which of them readers have only the log knows: the account may tell of the other one, but of one only.
    """
    wrong = []
    for origin, (request_id, attempt) in accepted.items():
        found = rows.get(origin, [])
        if found != [attempt] and not (origin in doubled and len(found) == 1):
            wrong.append(
                Violation(
                    request_id=request_id,
                    reader="account",
                    problem=_problem(found),
                    detail=f"{origin} has final rows of attempts {found}, its readers have {attempt!r}",
                )
            )
    strangers = Counter({origin: len(attempts) for origin, attempts in rows.items() if origin not in accepted})
    wrong += [
        Violation(request_id=origin, reader="account", problem=Problem.DOUBLED, detail="a row of an unknown request")
        for origin in strangers
    ]
    return wrong


def _problem(found: list[str]) -> Problem:
    if not found:
        return Problem.LOST
    return Problem.WRONG_ROW if len(found) == 1 else Problem.DOUBLED


async def _rows(settings: Settings) -> Rows:
    view = f"{settings.clickhouse.database}.requests_final"
    try:
        answer = await query(settings, f"SELECT {KEY}, attempt FROM {view}")
    except TransportError:
        return {}  # the recorder is being started again
    rows: Rows = {}
    for topic, partition, offset, attempt in answer.rows:
        rows.setdefault(origin_of(str(topic), int(partition), int(offset)), []).append(str(attempt))
    return rows
