"""Rows and records of some minutes, and which of them count."""

import random
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from tests.account_data.plant import Plant
from tests.account_data.site import SECOND_US
from tests.account_data.telling import Telling
from topics import names
from topics.reader import Reader, Verdict
from topics.responses import Response
from topics.trace_rows import TABLES, RequestRow, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Rows by table, each in the order in which they were told, between two times in microseconds."""

    rows: dict[str, list[Row]]
    responses: dict[str, list[Response]]
    begins_us: int
    ends_us: int

    def of(self, table: str) -> list[Any]:
        """Rows of one table."""
        return self.rows[table]

    def attempts(self) -> list[RequestRow]:
        """One row per attempt: the first telling."""
        found: dict[tuple[str, int, int, str], RequestRow] = {}
        for row in self.of("requests"):
            found.setdefault((row.lane_topic, row.lane_partition, row.lane_offset, row.attempt), row)
        return list(found.values())

    def finals(self) -> list[RequestRow]:
        """One row per request: the end that its reader accepted."""
        accepted = {origin: _accepted(records) for origin, records in self.responses.items()}
        return [row for row in self.attempts() if row.final and accepted[_origin(row)] == row.attempt]


def _origin(row: RequestRow) -> str:
    return names.origin_of(row.lane_topic, row.lane_partition, row.lane_offset)


def _accepted(records: list[Response]) -> str | None:
    """The attempt whose end counts, empty where a processor ended the request. None: it has no end."""
    reader = Reader()
    ended = [record for record in records if reader.feed(record) is Verdict.ENDED]
    return (ended[0].attempt or "") if ended else None


def an_account(*, seed: int = 7, requests: int = 1500, minutes: int = 12, ends_us: int | None = None) -> Account:
    """`requests` requests over `minutes` minutes up to `ends_us` (now, at a whole second, by default)."""
    end = ends_us or time.time_ns() // 1000 // SECOND_US * SECOND_US
    telling = Telling()
    Plant(random.Random(seed), telling, begins_us=end - minutes * 60 * SECOND_US, seconds=minutes * 60).run(requests)
    told = sorted(telling.told, key=lambda pair: pair[0])  # stable: rows of one moment stay in order
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    for _, row in told:
        rows[next(table for table, kind in TABLES.items() if isinstance(row, kind))].append(row)
    responses: dict[str, list[Response]] = defaultdict(list)
    for _, record in sorted(telling.said, key=lambda pair: pair[0]):
        responses[record.origin].append(record)
    return Account(rows=rows, responses=responses, begins_us=end - minutes * 60 * SECOND_US, ends_us=end)
