"""Reads what a story is told from out of ClickHouse: the request's rows, its batches, and its lanes while it waited."""

from typing import Any, Final, TypeVar

import msgspec
from clickhouse_connect.driver.client import Client

from pipeline.explain.facts import Happening, Mate, Meanwhile, Rows
from pipeline.report.asking import asked
from pipeline.report.story import Attempt

T = TypeVar("T")

MAX_MEANWHILE: Final = 200
"""Events of lanes that are looked at for one story."""

_HAPPENINGS: Final = """
SELECT toUnixTimestamp64Micro(ts) AS at_us, kind, component, process, origin, attempt, tenant, latency_class, model,
    worker, batch_id, batch_size, tokens_in, tokens_out, queue_depth, running, outcome, error_code, reason, detail
FROM events
WHERE request_id = {id:String}
ORDER BY ts, log_ts, kp, ko, ki
LIMIT 1 BY kind, origin, attempt, batch_id, reason"""
_MATES: Final = """
SELECT DISTINCT batch_id, request_id, tenant
FROM events
WHERE kind = 'request.dispatched' AND has({batches:Array(String)}, batch_id)
    AND ts BETWEEN fromUnixTimestamp64Micro({since:Int64}) AND fromUnixTimestamp64Micro({until:Int64})
ORDER BY batch_id, request_id
LIMIT 1000"""
_MEANWHILE: Final = """
SELECT toUnixTimestamp64Micro(ts) AS at_us, kind, latency_class, queue_depth, reason, detail
FROM events
WHERE kind IN ('lane.deferred', 'lane.paused') AND model = {model:String}
    AND ts BETWEEN fromUnixTimestamp64Micro({since:Int64}) AND fromUnixTimestamp64Micro({until:Int64})
ORDER BY ts
LIMIT {most:UInt32}"""


def rows_of(client: Client, request_id: str, *, tenant: str | None) -> Rows:
    """Everything that is told of an id, of one tenant or of all.

    Raises:
        ClickHouseError: the server refused a query.
    """
    attempts = asked(client, "trace_attempts", Attempt, {"id": request_id})
    happenings = _ask(client, _HAPPENINGS, Happening, {"id": request_id})
    if tenant is not None:
        attempts = [attempt for attempt in attempts if attempt.tenant == tenant]
        happenings = [happening for happening in happenings if happening.tenant == tenant]
    dispatched = [event for event in happenings if event.kind == "request.dispatched"]
    mates = _mates(client, dispatched) if any(event.batch_size > 1 for event in dispatched) else []
    return Rows(attempts=attempts, happenings=happenings, meanwhile=_meanwhile(client, happenings), mates=mates)


def _mates(client: Client, dispatched: list[Happening]) -> list[Mate]:
    times = [event.at_us for event in dispatched]
    batches = sorted({event.batch_id for event in dispatched})
    # All parts of a batch are told with the same time.
    return _ask(client, _MATES, Mate, {"batches": batches, "since": min(times), "until": max(times)})


def _meanwhile(client: Client, happenings: list[Happening]) -> list[Meanwhile]:
    found: list[Meanwhile] = []
    for begin in [event for event in happenings if event.kind == "request.admitted"]:
        after = [event.at_us for event in happenings if event.origin == begin.origin and event.at_us > begin.at_us]
        given = {"model": begin.model, "since": begin.at_us, "until": min(after, default=begin.at_us)}
        found += _ask(client, _MEANWHILE, Meanwhile, {**given, "most": MAX_MEANWHILE})
    return found


def _ask(client: Client, sql: str, kind: type[T], given: dict[str, Any]) -> list[T]:
    return [msgspec.convert(row, kind, strict=False) for row in client.query(sql, parameters=given).named_results()]
