"""What is made of the account's rows by the database itself: minutes for the long run, and spans."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.client import connect
from sinks.clickhouse.erasure import of_tenant
from sinks.clickhouse.erasure import statements as erasures
from sinks.clickhouse.migrations import load_migrations
from sinks.clickhouse.migrations.runner import foundation
from sinks.clickhouse.queries import load_queries
from sinks.clickhouse.retention import DEFAULT_DAYS, changes
from tests.account_data.filling import minutes_computed
from tests.account_server import serving

pytestmark = pytest.mark.integration

COLUMNS = "model, deployment, latency_class, tenant, outcome"
SUMS = "sum(requests), sum(tokens_in), sum(tokens_cached), sum(tokens_out), sum(gpu_ns)"
RAW_SUMS = "count(), sum(tokens_in), sum(tokens_cached), sum(tokens_out), sum(gpu_ns)"
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    ended_us = time.time_ns() // 1000 - 180_000_000  # all of its minutes are over
    with serving(tmp_path_factory.mktemp("views"), requests=600, minutes=8, ends_us=ended_us) as url:
        made = connect(url, "default", "", "trace")
        made.command("SYSTEM STOP VIEW requests_by_minute_refresh")
        yield made
        made.close()


def ask(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql).result_rows]


def refresh(client: Client) -> None:
    client.command("SYSTEM START VIEW requests_by_minute_refresh")
    for statement in minutes_computed("trace"):
        client.command(statement)
    client.command("SYSTEM STOP VIEW requests_by_minute_refresh")


def minutes(client: Client) -> list[tuple[Any, ...]]:
    return ask(
        client, f"SELECT minute, {COLUMNS}, {SUMS} FROM requests_history GROUP BY minute, {COLUMNS} ORDER BY ALL"
    )


def raw_minutes(client: Client) -> list[tuple[Any, ...]]:
    return ask(
        client,
        f"SELECT minute, {COLUMNS}, {RAW_SUMS} FROM requests_final WHERE minute < toStartOfMinute(now()) "
        f"GROUP BY minute, {COLUMNS} ORDER BY ALL",
    )


def an_ending(client: Client, offset: int, *, hours_ago: float, **fields: Any) -> None:
    """Insert the row of an attempt that ended a request which was produced so long ago."""
    values = {
        "request_id": f"'late-{offset}'",
        "lane_topic": "'inference.requests.late.bulk'",
        "lane_offset": offset,
        "attempt": "'a'",
        "final": 1,
        "mode": "'fresh'",
        "trace_id": "unhex('00')",
        "tenant": "'acme'",
        "latency_class": "'bulk'",
        "model": "'late'",
        "deployment": "'late@v1'",
        "produced_ts": f"toStartOfHour(now()) - toIntervalMicrosecond({int(hours_ago * HOUR_US)})",
        "started_us": 1000,
        "first_us": 2000,
        "last_us": 6000,
        "finished_us": 7000,
        "tokens_in": 10,
        "tokens_out": 5,
        "outcome": "'completed'",
        "gpu_ns": 1000,
        "log_ts": "now64(3)",
        "ko": 1_000_000 + offset * 100 + int(fields.get("hop", 0)),
        **fields,
    }
    client.command(f"INSERT INTO requests ({', '.join(values)}) VALUES ({', '.join(map(str, values.values()))})")


def late(found: Sequence[tuple[Any, ...]]) -> list[tuple[str, int]]:
    """Outcomes and counts of the requests that a test has added."""
    return [(row[5], row[6]) for row in found if row[1] == "late"]


def test_minutes_are_what_the_rows_say(client: Client) -> None:
    refresh(client)

    assert len(minutes(client)) > 50
    assert minutes(client) == raw_minutes(client)


def test_rows_that_come_days_late_are_counted(client: Client) -> None:
    refresh(client)
    an_ending(client, 1, hours_ago=70)
    an_ending(client, 2, hours_ago=70)
    refresh(client)

    assert minutes(client) == raw_minutes(client)
    assert late(minutes(client)) == [("completed", 2)]

    an_ending(client, 3, hours_ago=70)
    refresh(client)
    assert late(minutes(client)) == [("completed", 3)]
    assert minutes(client) == raw_minutes(client)


def test_an_outcome_that_counts_no_more_leaves_nothing_behind(client: Client) -> None:
    """Another attempt's end counts, minutes later: the minute of the first loses its only failure."""
    an_ending(client, 10, hours_ago=50, outcome="'failed'")
    refresh(client)
    assert ("failed", 1) in late(minutes(client))

    an_ending(client, 10, hours_ago=50, hop=1, attempt="'b'", finished_us=600_000_000)
    refresh(client)

    assert minutes(client) == raw_minutes(client)
    assert "failed" not in dict(late(minutes(client)))


def test_rows_that_are_gone_are_remembered(client: Client) -> None:
    an_ending(client, 20, hours_ago=40, outcome="'expired'")
    refresh(client)
    client.command("ALTER TABLE requests DELETE WHERE request_id = 'late-20' SETTINGS mutations_sync = 2")
    refresh(client)

    assert ("expired", 1) in late(minutes(client))
    client.command(
        "ALTER TABLE requests_by_minute DELETE WHERE outcome = 'expired' AND model = 'late' SETTINGS mutations_sync = 2"
    )


def test_what_has_not_changed_is_not_computed_again(client: Client) -> None:
    refresh(client)
    client.command("OPTIMIZE TABLE requests_by_minute FINAL")
    newest = "SELECT minute, max(computed_at) FROM requests_by_minute GROUP BY minute ORDER BY minute"
    before = ask(client, newest)
    an_ending(client, 30, hours_ago=30)
    refresh(client)

    after = dict(ask(client, newest))
    changed = [minute for minute, at in after.items() if dict(before).get(minute) != at]
    made_whole = ask(client, "SELECT DISTINCT minute FROM requests WHERE request_id = 'late-30'")
    full = [
        minute for (minute,) in ask(client, "SELECT max(minute) FROM requests WHERE minute < toStartOfMinute(now())")
    ]
    assert made_whole[0][0] in changed
    assert set(changed) <= {made_whole[0][0], *full}


def test_what_was_not_measured_is_in_no_digest(client: Client) -> None:
    for offset, measured in enumerate((0, 0, 0, 4000), start=40):
        an_ending(client, offset, hours_ago=20, model="'digest'", first_us=measured, last_us=0, tokens_out=0)
    refresh(client)

    medians = (
        "SELECT quantilesTDigestMerge(0.5, 0.95, 0.99)(ttft_ms)[1], "
        "isNaN(quantilesTDigestMerge(0.5, 0.95, 0.99)(tpot_ms)[1]) FROM requests_history WHERE model = 'digest'"
    )
    assert ask(client, medians) == [(4.0, 1)]


ALL_SUMS = "minute, model, latency_class, outcome, requests, tokens_in, tokens_cached, tokens_out, gpu_ns"
RAW_QUANTILES = ", ".join(
    f"quantilesTDigestIf(0.5, 0.95, 0.99)({name}_ms, {name}_ms > 0)" for name in ("ttft", "tpot", "e2e")
)


def assert_minutes_of_all_are_exact(client: Client) -> None:
    key = "minute, model, latency_class, outcome"
    found = ask(client, f"SELECT {ALL_SUMS}, arrayConcat(ttft, tpot, e2e) FROM requests_minutes ORDER BY {key}")
    raw = ask(
        client,
        f"SELECT {key}, {RAW_SUMS}, arrayConcat({RAW_QUANTILES}) FROM requests_final GROUP BY {key} ORDER BY {key}",
    )

    assert len(found) > 50
    assert [row[:9] for row in found] == [row[:9] for row in raw]
    for row, exact in zip(found, raw, strict=True):
        assert list(row[9]) == pytest.approx(list(exact[9]), rel=0.02, nan_ok=True), row[:4]


def test_minutes_of_all_tenants_are_right_before_they_are_computed_and_after(client: Client) -> None:
    """Minutes that nobody has computed yet, of late rows, of an outcome that counts no more, and the present one."""
    client.command("TRUNCATE TABLE requests_by_minute")
    client.command("ALTER TABLE requests DELETE WHERE minute < now() - 86000 SETTINGS mutations_sync = 2")
    assert_minutes_of_all_are_exact(client)

    refresh(client)
    assert_minutes_of_all_are_exact(client)

    an_ending(client, 90, hours_ago=9, outcome="'failed'")
    an_ending(client, 91, hours_ago=0)
    assert_minutes_of_all_are_exact(client)

    refresh(client)
    an_ending(client, 90, hours_ago=9, hop=1, attempt="'b'", finished_us=600_000_000)
    assert_minutes_of_all_are_exact(client)

    refresh(client)
    assert_minutes_of_all_are_exact(client)
    assert "'*'" not in str(minutes(client))


def test_the_long_run_is_read_by_name(client: Client) -> None:
    refresh(client)
    names = ("day", "model", "latency_class", "requests", "completed_ratio", "tokens_out", "ttft_p50_ms", "e2e_p95_ms")
    found = [
        tuple(row[name] for name in names)
        for row in client.query(load_queries()["history"].sql).named_results()
        if row["model"] == "tiny"
    ]
    raw = ask(
        client,
        "SELECT toDate(minute) AS day, model, latency_class, count(), round(countIf(outcome = 'completed') / count(), "
        "4), sum(tokens_out), quantileExactIf(0.5)(ttft_ms, outcome = 'completed' AND ttft_ms > 0), "
        "quantileExactIf(0.95)(e2e_ms, outcome = 'completed') FROM requests_final WHERE model = 'tiny' "
        "GROUP BY day, model, latency_class ORDER BY day, model, latency_class",
    )

    assert [row[:6] for row in found] == [row[:6] for row in raw]
    for row, exact in zip(found, raw, strict=True):
        assert row[6:] == pytest.approx(exact[6:], rel=0.1)


# Spans


def spans_of(client: Client, request_id: str) -> list[dict[str, Any]]:
    return list(
        client.query(f"SELECT * FROM otel_traces WHERE RequestId = '{request_id}' ORDER BY Timestamp").named_results()
    )


def test_every_request_has_one_root_and_every_span_one_id(client: Client) -> None:
    ((spans, ids, roots),) = ask(
        client,
        "SELECT count(), uniqExact(TraceId, SpanId), countIf(startsWith(SpanName, 'process ')) FROM otel_traces",
    )

    assert spans == ids
    assert [(roots,)] == ask(client, "SELECT count() FROM requests_final")
    assert ask(client, "SELECT DISTINCT length(SpanId), length(TraceId) FROM otel_traces") == [(16, 32)]


def test_a_request_is_a_tree_below_its_producer(client: Client) -> None:
    an_ending(
        client,
        60,
        hours_ago=1,
        parent_span=0xAB,
        trace_id="unhex('0102030405060708090a0b0c0d0e0f10')",
        endpoint="'/v1/completions'",
        admitted_us=100,
        batched_us=200,
        worker="'w'",
        batch_id="'bt'",
        batch_size=2,
        finish_reason="'stop'",
    )
    spans = {span["SpanName"].partition(" ")[0]: span for span in spans_of(client, "late-60")}

    assert list(spans) == ["process", "admit", "queue", "dispatch", "text_completion", "prefill", "decode"]
    assert spans["process"]["ParentSpanId"] == "00000000000000ab"
    assert {span["TraceId"] for span in spans.values()} == {"0102030405060708090a0b0c0d0e0f10"}
    root, attempt = spans["process"]["SpanId"], spans["text_completion"]["SpanId"]
    assert {spans[name]["ParentSpanId"] for name in ("admit", "queue", "dispatch", "text_completion")} == {root}
    assert {spans[name]["ParentSpanId"] for name in ("prefill", "decode")} == {attempt}
    attributes = spans["text_completion"]["SpanAttributes"]
    assert attributes["gen_ai.operation.name"] == "text_completion"
    assert attributes["gen_ai.provider.name"] == "millrace"
    assert attributes["gen_ai.response.finish_reasons"] == "stop"
    assert spans["text_completion"]["Events.Name"] == ["gen_ai.first_token"]
    assert "error.type" not in attributes
    assert (spans["prefill"]["Duration"], spans["decode"]["Duration"]) == (1_000_000, 4_000_000)


def test_batches_and_dispatches_are_linked(client: Client) -> None:
    client.command(
        "INSERT INTO batches (log_ts, ko, batch_id, formed_ts, model, size, wait_max_us) "
        "VALUES (now64(3), 9000000, 'linked', now64(6), 'late', 2, 50)"
    )
    for offset in (70, 71):
        an_ending(client, offset, hours_ago=1, batch_id="'linked'", batch_size=2)
    (batch,) = client.query(
        "SELECT * FROM otel_traces WHERE SpanAttributes['millrace.batch.id'] = 'linked' AND SpanName = 'batch late'"
    ).named_results()
    members = [spans_of(client, f"late-{offset}") for offset in (70, 71)]

    roots = {(span["TraceId"], span["SpanId"]) for spans in members for span in spans if "process" in span["SpanName"]}
    assert set(zip(batch["Links.TraceId"], batch["Links.SpanId"], strict=True)) == roots
    assert len(roots) == len({trace for trace, _ in roots}) == 2
    for spans in members:
        (dispatch,) = (span for span in spans if span["SpanName"] == "dispatch")
        assert (dispatch["Links.TraceId"], dispatch["Links.SpanId"]) == ([batch["TraceId"]], [batch["SpanId"]])


def test_what_failed_is_an_error_and_what_was_handed_back_is_not(client: Client) -> None:
    an_ending(client, 80, hours_ago=1, hop=1, attempt="'second'", outcome="'failed'", error_code="'generation_failed'")
    an_ending(client, 80, hours_ago=1, attempt="'first'", final=0, outcome="'returned'")
    statuses = {
        (span["SpanName"], span["SpanAttributes"].get("millrace.attempt", "")): span["StatusCode"]
        for span in spans_of(client, "late-80")
    }

    assert statuses["process inference.requests.late.bulk", ""] == "Error"
    assert (statuses["chat late", "second"], statuses["chat late", "first"]) == ("Error", "Unset")


# On a cluster

ON_CLUSTER = [
    *foundation("acme", "account"),
    *(statement for migration in load_migrations() for statement in migration.statements("acme", "account")),
    *changes("acme", {"events": 1, "requests_by_minute": 1000}, DEFAULT_DAYS, "account"),
    *erasures("acme", of_tenant("acme", "it's"), cluster="account"),
]


def test_the_engine_parses_every_statement_for_a_cluster(client: Client) -> None:
    for statement in ON_CLUSTER:
        assert " ON CLUSTER `account`" in statement
        parsed = client.command(f"EXPLAIN AST {statement}")
        assert str(parsed).strip(), statement
