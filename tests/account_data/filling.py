"""An account in a database, as a recorder and operators would have put it there."""

from collections import defaultdict
from collections.abc import Iterator

import pyarrow as pa

from sinks.clickhouse.store import Store, quoted
from tests.account_data.account import Account
from tests.account_data.site import MESSAGE_ROWS, OBJECTIVE, PRICES, SECOND_US, TARGETS
from topics.trace import SCHEMAS, decode_rows, encode_rows
from topics.trace_rows import BatchRow, RequestRow, Row


async def fill(store: Store, database: str, account: Account) -> None:
    """Put the rows, prices and targets into a migrated database, as a recorder would: addresses, one insert a day."""
    offset = 0
    for table, rows in account.rows.items():
        pieces = [rows[i : i + MESSAGE_ROWS] for i in range(0, len(rows), MESSAGE_ROWS)]
        by_day: dict[int, list[pa.Table]] = defaultdict(list)
        for piece in pieces:
            log_ms = _told_us(piece[-1]) // 1000
            by_day[log_ms // 86_400_000].append(addressed(table, piece, ko=offset, log_ms=log_ms))
            offset += len(piece)
        for day in sorted(by_day):
            await store.insert(f"{quoted(database)}.{table}", pa.concat_tables(by_day[day]), token=f"{table}-{day}")
    for statement in statements(database, account):
        await store.execute(statement)


def statements(database: str, account: Account) -> Iterator[str]:
    """What no process of the plant tells: prices, targets, one decision about scaling and one about a rollout; and the
    minutes, which are not waited for.
    """
    begins_s, name = account.begins_us // SECOND_US, quoted(database)
    prices = ", ".join(f"('{gpu}', '{plan}', {begins_s - 86_400}, {usd})" for gpu, plan, usd in PRICES)
    yield f"INSERT INTO {name}.gpu_prices (gpu, plan, valid_from, usd_per_gpu_hour) VALUES {prices}"
    yield f"SYSTEM RELOAD DICTIONARY {name}.gpu_price"
    targets = ", ".join(
        f"('{model}', '{latency_class}', {OBJECTIVE}, {ttft}, {tpot}, {e2e})"
        for model in ("tiny", "large")
        for latency_class, (ttft, tpot, e2e) in TARGETS.items()
    )
    columns = "model, latency_class, objective_ratio, ttft_ms, tpot_ms, e2e_ms"
    yield f"INSERT INTO {name}.slo_targets ({columns}) VALUES {targets}"
    yield (
        f"INSERT INTO {name}.scaling_decisions (log_ts, ts, decision_id, model, deployment, action, reason, "
        "replicas_before, replicas_wanted, replicas_after, queue_depth, lag_s, ready_ts) "
        f"VALUES ({begins_s}, {begins_s + 120}, 's1', 'tiny', 'tiny@v1', 'up', 'lag', 1, 2, 2, 40, 3.5, "
        f"{begins_s + 150})"
    )
    yield (
        f"INSERT INTO {name}.rollout_decisions (log_ts, ts, decision_id, rollout_id, model, stable, canary, stage, "
        "action, reason, weight_before, weight_after) "
        f"VALUES ({begins_s}, {begins_s + 60}, 'd1', 'tiny-v2', 'tiny', 'tiny@v1', 'tiny@v2', 1, 'start', 'asked', "
        "0, 0.3)"
    )
    yield from minutes_computed(name)


def minutes_computed(name: str) -> Iterator[str]:
    """What computes the minutes that are over now, and not within a minute. `name` is the database's, quoted."""
    yield f"SYSTEM REFRESH VIEW {name}.requests_by_minute_refresh"
    yield f"SYSTEM WAIT VIEW {name}.requests_by_minute_refresh"


def _told_us(row: Row) -> int:
    match row:
        case RequestRow():
            return row.produced_ts + row.finished_us
        case BatchRow():
            return row.formed_ts
        case _:
            return row.ts


def addressed(table: str, rows: list[Row], *, ko: int, log_ms: int) -> pa.Table:
    """Rows as the recorder would insert them, of messages from offset `ko` on: one each, as of different processes."""
    received = decode_rows(encode_rows(table, rows))
    count = len(rows)
    address = {
        "kp": pa.array([0] * count, pa.uint16()),
        "ko": pa.array(range(ko, ko + count), pa.uint64()),
        "ki": pa.array([0] * count, pa.uint32()),
        "log_ts": pa.array([log_ms] * count, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
    }
    return pa.table({**address, **{name: received[name] for name in SCHEMAS[table].names}})
