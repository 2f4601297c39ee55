"""Ordinary ClickHouse clients against the embedded engine: what works with a server works here, and fails alike."""

import asyncio
import contextlib
import datetime as dt
import decimal
import gzip
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from tests.eventually import eventually

pytestmark = pytest.mark.integration

COMPRESSIONS = [False, "lz4", "zstd", "gzip"]
ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE number % 7 = 9"
FAILS_LATE = "SELECT number, throwIf(number = 900000, 'boom') FROM numbers(1000000)"

EVERY_TYPE_TABLE = """CREATE TABLE {name} (
    id UInt64, ts DateTime64(6, 'UTC'), m LowCardinality(String), x Nullable(Float64), a Array(String),
    mp Map(LowCardinality(String), String), j JSON, d Decimal(18, 6), u UUID, e Enum8('a' = 1, 'b' = 2)
) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"""
EVERY_TYPE_COLUMNS = ["id", "ts", "m", "x", "a", "mp", "j", "d", "u", "e"]
EVERY_TYPE_ROW: tuple[object, ...] = (
    1,
    dt.datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=dt.UTC),
    "m1",
    1.5,
    ["a", "b"],
    {"k": "v"},
    {"p": {"q": 1}},
    decimal.Decimal("1.25"),
    uuid.UUID(int=5),
    "a",
)


@dataclass(frozen=True)
class Server:
    url: str
    folder: Path
    """The engine's."""
    pid: int

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    def client(self, **arguments: Any) -> Client:
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.port, **arguments)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The interface in a process of its own: the engine opens once per process."""
    path = tmp_path_factory.mktemp("clickhouse") / "data"
    command = [sys.executable, "-m", "sinks.clickhouse.http", "--path", str(path), "--port", "0", "--pool", "3"]
    command += ["--user", "default", "--user", "writer:se:cret", "--readonly-user", "viewer"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as child:
        assert child.stdout is not None
        try:
            yield Server(child.stdout.readline().strip(), path, child.pid)
        finally:
            child.terminate()
            assert child.wait(timeout=20) == 0


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    made = server.client(compress=False)
    yield made
    made.close()


@pytest.fixture(params=COMPRESSIONS, ids=str)
def compressing(server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    made = server.client(compress=request.param)
    yield made
    made.close()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as made:
        yield made


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    """An empty table (a UInt64, b Float64, s String) with a name of its own."""
    name = f"t_{uuid.uuid4().hex}"
    client.command(f"CREATE TABLE {name} (a UInt64, b Float64, s String) ENGINE = MergeTree ORDER BY a")
    yield name
    client.command(f"DROP TABLE {name}")


def rows_of(client: Client, sql: str, **arguments: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql, **arguments).result_rows]


def count(client: Client, table: str) -> int:
    return int(rows_of(client, f"SELECT count() FROM {table}")[0][0])


# Connecting


def test_version_timezone_and_plain_native_revision_are_announced(client: Client) -> None:
    assert str(client.server_version).startswith("26.")
    assert client.server_tz == dt.UTC
    assert client.protocol_version == 0


def test_ping_answers(client: Client, http: httpx.Client) -> None:
    assert client.ping()
    assert http.get("/ping").text == "Ok.\n"
    assert http.get("/replicas_status").text == "Ok.\n"
    assert http.get("/").text == "Ok.\n"


# Reading


def test_rows_have_values_of_their_types(client: Client) -> None:
    ((a, b, c, d),) = rows_of(client, "SELECT 1 a, 2 b, [1, 2] c, toDateTime('2026-01-02 03:04:05') d")
    assert (a, b, c, d) == (1, 2, [1, 2], dt.datetime(2026, 1, 2, 3, 4, 5))  # noqa: DTZ001  # the client's own choice


def test_an_empty_result_keeps_its_columns(compressing: Client) -> None:
    result = compressing.query("SELECT 1 a, 'x' b WHERE 0")
    assert (list(result.result_rows), result.column_names) == ([], ("a", "b"))


def test_limit_0_keeps_its_columns(client: Client) -> None:
    assert client.query("SELECT 1 a, 'x' b LIMIT 0").column_names == ("a", "b")


def test_parameters_are_bound_by_the_server(client: Client) -> None:
    sql = "SELECT {a:UInt32} + {b:UInt32}, {s:String}"
    assert rows_of(client, sql, parameters={"a": 1, "b": 2, "s": "q'uo\\te"}) == [(3, "q'uo\\te")]


def test_parameters_are_bound_by_the_client(client: Client) -> None:
    assert rows_of(client, "SELECT %(a)s", parameters={"a": "x'y"}) == [("x'y",)]


def test_settings_hold_for_their_query_only(client: Client) -> None:
    sql = "SELECT getSetting('max_threads')"
    before = rows_of(client, sql)
    assert rows_of(client, sql, settings={"max_threads": 3}) == [(3,)]
    assert rows_of(client, sql) == before != [(3,)]


def test_a_set_statement_does_not_leak_to_the_next_request(http: httpx.Client) -> None:
    assert http.post("/", content="SET max_threads = 7").status_code == 200
    for _ in range(4):
        assert http.post("/", content="SELECT getSetting('max_threads') = 7").text == "0\n"


def test_log_comment_is_the_clients_behind_the_mark(http: httpx.Client) -> None:
    answer = http.post("/?log_comment=mine", content="SELECT endsWith(getSetting('log_comment'), '; mine')")
    assert answer.text == "1\n"


def test_the_summary_counts_what_was_read(client: Client) -> None:
    summary = client.query("SELECT count() FROM numbers(1000)").summary
    assert summary["read_rows"] == "1000"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("WITH 1 AS x SELECT x", [(1,)]),
        ("(SELECT 1) UNION ALL (SELECT 1)", [(1,), (1,)]),
        ("-- why\nSELECT /* ; */ ';'", [(";",)]),
        ("SELECT 1;", [(1,)]),
    ],
)
def test_selects_in_all_their_shapes(client: Client, sql: str, expected: list[tuple[object, ...]]) -> None:
    assert rows_of(client, sql) == expected


def test_show_explain_and_describe_answer(client: Client, table: str) -> None:
    assert str(client.command(f"SHOW CREATE TABLE {table}")).startswith("CREATE TABLE")
    assert rows_of(client, "EXPLAIN SELECT 1")
    assert client.query(f"DESCRIBE TABLE {table}").column_names[:2] == ("name", "type")


def test_frames_arrays_and_arrow_tables_come_out(client: Client, table: str) -> None:
    client.command(f"INSERT INTO {table} SELECT number, number / 2, 'z' FROM numbers(3)")
    assert client.query_df(f"SELECT * FROM {table}").shape == (3, 3)
    assert client.query_np(f"SELECT a, b FROM {table}").shape[0] == 3
    assert client.query_arrow(f"SELECT * FROM {table}").num_rows == 3


def test_a_result_streams_in_blocks(compressing: Client) -> None:
    with compressing.query_row_block_stream("SELECT number FROM numbers(2000000)") as stream:
        sizes = [len(block) for block in stream]
    assert sum(sizes) == 2_000_000
    assert len(sizes) > 1


def test_raw_formats_come_out(client: Client) -> None:
    assert json.loads(client.raw_query("SELECT 1 x", fmt="JSON"))["data"] == [{"x": 1}]
    with client.raw_stream("SELECT number FROM numbers(100000)", fmt="CSV") as stream:
        assert sum(piece.count(b"\n") for piece in stream) == 100_000


def test_a_format_clause_wins_over_the_default_format(http: httpx.Client) -> None:
    answer = http.post("/?default_format=JSONEachRow", content="SELECT 1 AS a FORMAT CSV")
    assert (answer.text, answer.headers["X-ClickHouse-Format"]) == ("1\n", "CSV")


# Writing


def test_every_type_survives_a_round_trip_and_a_token_inserts_once(compressing: Client) -> None:
    name = f"t_{uuid.uuid4().hex}"
    compressing.command(EVERY_TYPE_TABLE.format(name=name))
    for _ in range(2):
        compressing.insert(
            name,
            [EVERY_TYPE_ROW] * 1000,
            column_names=EVERY_TYPE_COLUMNS,
            settings={"insert_deduplication_token": "one"},
        )
    assert count(compressing, name) == 1000
    (row,) = rows_of(compressing, f"SELECT * EXCEPT ts FROM {name} LIMIT 1")
    assert row == (EVERY_TYPE_ROW[0], *EVERY_TYPE_ROW[2:])
    ((micros,),) = rows_of(compressing, f"SELECT toUnixTimestamp64Micro(ts) FROM {name} LIMIT 1")
    assert micros == 1767229323456789
    compressing.command(f"DROP TABLE {name}")


def test_columns_are_inserted_and_read_back(compressing: Client, table: str) -> None:
    rows = 100_000
    columns: list[Any] = [
        np.arange(rows, dtype=np.uint64),
        np.ones(rows),
        [f"s{number % 100}" for number in range(rows)],
    ]
    written = compressing.insert(table, columns, column_names=["a", "b", "s"], column_oriented=True).written_rows
    assert written == rows
    read = compressing.query(f"SELECT a, s FROM {table} ORDER BY a")
    assert (read.row_count, read.result_rows[-1]) == (rows, (rows - 1, "s99"))


def test_frames_and_arrow_tables_are_inserted(client: Client, table: str) -> None:
    client.insert_df(table, pd.DataFrame({"a": [1, 2], "b": [0.1, 0.2], "s": ["x", "y"]}))
    client.insert_arrow(table, pa.table({"a": pa.array([3, 4], pa.uint64()), "b": [0.1, 0.2], "s": ["x", "y"]}))
    assert rows_of(client, f"SELECT a FROM {table} ORDER BY a") == [(1,), (2,), (3,), (4,)]


def test_gzipped_csv_is_inserted(client: Client, table: str) -> None:
    packed = gzip.compress(b"1,2,x\n3,4,y\n")
    assert client.raw_insert(table, ["a", "b", "s"], packed, fmt="CSV", compression="gzip").written_rows == 2


def test_a_long_insert_is_streamed(client: Client, table: str) -> None:
    pieces = (f'{{"a":{number},"b":1,"s":"g"}}\n'.encode() * 1000 for number in range(200))
    assert client.raw_insert(table, ["a", "b", "s"], pieces, fmt="JSONEachRow").written_rows == 200_000
    assert count(client, table) == 200_000


@pytest.mark.parametrize(
    ("clauses", "rows"),
    [
        ("SETTINGS format_csv_delimiter = ';' FORMAT CSV", "1;2;x\n"),
        ("SETTINGS format_csv_delimiter = ';'", "1;2;x\n"),
        ("-- all of them\nFORMAT CSV", "1,2,x\n"),
        ("-- all of them", "1,2,x\n"),
    ],
)
def test_settings_and_comments_of_an_insert_are_kept(
    http: httpx.Client, client: Client, table: str, clauses: str, rows: str
) -> None:
    params = {"query": f"INSERT INTO {table} {clauses}", "default_format": "CSV"}
    assert http.post("/", params=params, content=rows).text == ""
    assert rows_of(client, f"SELECT a, b, s FROM {table}") == [(1, 2.0, "x")]


def test_columns_left_out_get_their_defaults(http: httpx.Client, client: Client) -> None:
    name = f"t_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (a UInt8, m UInt8 MATERIALIZED a + 1, d UInt8 DEFAULT a + 2, z UInt8)"
        " ENGINE = MergeTree ORDER BY a"
    )
    http.post("/", params={"query": f"INSERT INTO {name} FORMAT JSONEachRow"}, content='{"a": 1, "z": 9}')
    http.post("/", params={"query": f"INSERT INTO {name} (z, a) FORMAT CSV"}, content="9,2")
    assert rows_of(client, f"SELECT a, m, d, z FROM {name} ORDER BY a") == [(1, 2, 3, 9), (2, 3, 4, 9)]
    client.command(f"DROP TABLE {name}")


def test_inline_values_and_selects_are_inserted(client: Client, table: str) -> None:
    client.command(f"INSERT INTO {table} VALUES (1, 2, 'v')")
    client.command(f"INSERT INTO {table} SELECT number, 1, 'z' FROM numbers(10)")
    assert count(client, table) == 11


@pytest.mark.parametrize("tail", ["FORMAT CSV\n1,2,x\n", "VALUES (1, 2, 'x')", "FORMAT Values (1, 2, 'x')"])
def test_an_insert_may_begin_in_the_url(client: Client, http: httpx.Client, table: str, tail: str) -> None:
    assert http.post("/", params={"query": f"INSERT INTO {table}"}, content=tail).status_code == 200
    assert rows_of(client, f"SELECT a, b, s FROM {table}") == [(1, 2.0, "x")]


def test_an_insert_without_format_takes_the_default_format(client: Client, http: httpx.Client, table: str) -> None:
    http.post("/", params={"query": f"INSERT INTO {table}", "default_format": "CSV"}, content="1,2,VALUES\n")
    assert rows_of(client, f"SELECT s FROM {table}") == [("VALUES",)]


def test_an_insert_takes_parameters(client: Client, http: httpx.Client, table: str) -> None:
    http.post("/", params={"query": "INSERT INTO {t:Identifier} FORMAT CSV", "param_t": table}, content="1,2,x\n")
    assert count(client, table) == 1


def test_a_truncated_compressed_insert_inserts_nothing(client: Client, http: httpx.Client, table: str) -> None:
    packed = gzip.compress(b"1,2,x\n" * 100_000)
    answer = http.post(
        "/",
        params={"query": f"INSERT INTO {table} FORMAT CSV"},
        content=packed[:-20],
        headers={"Content-Encoding": "gzip"},
    )
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "271")
    assert count(client, table) == 0


# Errors


@pytest.mark.parametrize(
    ("sql", "name", "code"),
    [
        ("SELECT * FROM nosuch", "UNKNOWN_TABLE", 60),
        ("SELEC 1", "SYNTAX_ERROR", 62),
        ("SELECT 1; SELECT 2", "SYNTAX_ERROR", 62),
    ],
)
def test_errors_carry_name_and_code(client: Client, sql: str, name: str, code: int) -> None:
    with pytest.raises(DatabaseError, match=name) as caught:
        client.query(sql)
    assert caught.value.code == code


def test_an_unknown_setting_is_an_error(client: Client) -> None:
    with pytest.raises(DatabaseError, match="no_such_setting"):
        client.query("SELECT 1", settings={"no_such_setting": 1})


def test_rows_that_do_not_fit_are_an_error_and_insert_nothing(client: Client, http: httpx.Client, table: str) -> None:
    answer = http.post("/", params={"query": f"INSERT INTO {table} FORMAT CSV"}, content="1,2,x\nx,y\n")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert count(client, table) == 0


@pytest.fixture
def checked(client: Client) -> Iterator[str]:
    """An empty table (a UInt64, b UInt64) that takes a below 100, with a name of its own."""
    name = f"t_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (a UInt64, b UInt64, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a"
    )
    yield name
    client.command(f"DROP TABLE {name}")


def test_rows_that_the_table_refuses_are_an_error_and_insert_nothing(compressing: Client, checked: str) -> None:
    with pytest.raises(DatabaseError, match="VIOLATED_CONSTRAINT") as caught:
        compressing.insert(checked, [(1, 1), (200, 2)], column_names=["a", "b"])
    assert caught.value.code == 469
    assert count(compressing, checked) == 0
    assert compressing.insert(checked, [(1, 1), (2, 2)], column_names=["a", "b"]).written_rows == 2
    assert count(compressing, checked) == 2


def test_rows_far_down_are_refused_too_and_take_all_with_them(http: httpx.Client, client: Client, checked: str) -> None:
    rows = "1,1\n" * 50_000 + "200,2\n"
    answer = http.post("/", params={"query": f"INSERT INTO {checked} FORMAT CSV"}, content=rows)
    assert (answer.headers["X-ClickHouse-Exception-Code"], count(client, checked)) == ("469", 0)


def test_an_insert_into_no_table_carries_the_engines_code(http: httpx.Client) -> None:
    answer = http.post("/", params={"query": "INSERT INTO nosuch FORMAT CSV"}, content="1\n")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (404, "60")


@pytest.mark.parametrize("name", ["Nosuch", "CSV SETTINGS max_threads=1", "CSV'"])
def test_a_format_is_a_name(http: httpx.Client, table: str, name: str) -> None:
    answer = http.post("/", params={"query": f"INSERT INTO {table}", "default_format": name}, content="1,2,x\n")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "73"


def test_files_of_the_server_are_neither_read_nor_written(http: httpx.Client, server: Server, table: str) -> None:
    outside = server.folder.parent / f"{table}.csv"
    assert "INTO_OUTFILE_NOT_ALLOWED" in http.post("/", content=f"SELECT 1 INTO OUTFILE '{outside}'").text
    assert not outside.exists()
    outside.write_text("1,2,x\n")
    answer = http.post("/", content=f"INSERT INTO {table} FROM INFILE '{outside}' FORMAT CSV")
    assert "UNKNOWN_TYPE_OF_QUERY" in answer.text
    assert http.post("/", content=f"SELECT count() FROM {table}").text == "0\n"


def test_a_stream_that_fails_midway_says_so(compressing: Client) -> None:
    with pytest.raises(StreamFailureError, match="boom"), compressing.query_row_block_stream(FAILS_LATE) as stream:
        for _ in stream:
            pass


def test_a_failed_query_leaves_nothing_to_the_next(compressing: Client) -> None:
    for _ in range(4):
        with pytest.raises(DatabaseError, match="boom"):
            compressing.query(FAILS_LATE)
        assert rows_of(compressing, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "status"),
    [("SELECT * FROM nosuch", 404), ("SELEC 1", 400), ("SELECT throwIf(1)", 500), ("SELECT 1 FORMAT NoSuch", 404)],
)
def test_the_status_follows_the_error(http: httpx.Client, sql: str, status: int) -> None:
    answer = http.post("/", content=sql)
    assert answer.status_code == status
    assert answer.text.startswith(f"Code: {answer.headers['X-ClickHouse-Exception-Code']}. DB::Exception: ")


@pytest.mark.parametrize("name", ["DataFrame", "ArrowTable"])
def test_formats_that_are_python_objects_are_unknown(http: httpx.Client, name: str) -> None:
    assert http.post(f"/?default_format={name}", content="SELECT 1").headers["X-ClickHouse-Exception-Code"] == "73"


def test_block_compression_is_refused_with_a_way_out(http: httpx.Client) -> None:
    answer = http.post("/?compress=1", content="SELECT 1")
    assert answer.status_code == 501
    assert "enable_http_compression=1" in answer.text


def test_an_unknown_encoding_is_refused(http: httpx.Client) -> None:
    assert http.post("/", content=b"SELECT 1", headers={"Content-Encoding": "br"}).status_code == 415


# Users, sessions, external tables


def test_a_readonly_user_reads_and_neither_writes_nor_kills(server: Server, table: str) -> None:
    viewer = server.client(username="viewer")
    try:
        assert count(viewer, table) == 0
        for sql in (f"DROP TABLE {table}", f"INSERT INTO {table} VALUES (1, 2, 'x')", "KILL QUERY WHERE 1 ASYNC"):
            with pytest.raises(DatabaseError, match="READONLY"):
                viewer.command(sql)
    finally:
        viewer.close()


LIFTING: list[tuple[dict[str, str], str, int]] = [
    ({"max_memory_usage": "0"}, "SELECT 1", 452),
    ({"max_memory_usage": "99999999999"}, "SELECT 1", 452),
    ({"max_execution_time": "0"}, "SELECT 1", 452),
    ({"max_execution_time": "301"}, "SELECT 1", 452),
    ({"workload": "default"}, "SELECT 1", 452),
    ({"max_untracked_memory": "99999999999"}, "SELECT 1", 452),
    ({"session_id": "l1"}, "SET max_memory_usage = 0", 452),
    ({"session_id": "l1"}, "SET max_execution_time = DEFAULT", 452),
    ({"session_id": "l1"}, "SET readonly = 0", 164),
    ({}, "SELECT 1 SETTINGS max_memory_usage = 0", 452),
    ({}, "SELECT 1 SETTINGS max_execution_time = 0", 452),
    ({"max_memory_usage": "5000"}, "SELECT 1 SETTINGS max_memory_usage = 5000000000", 452),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("settings", "sql", "code"), LIFTING)
def test_a_readonly_user_cannot_lift_its_limits(
    http: httpx.Client, method: str, settings: dict[str, str], sql: str, code: int
) -> None:
    answer = http.request(method, "/", params={"user": "viewer", "query": sql, **settings})

    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code), answer.text
    assert answer.status_code != 200


@pytest.mark.parametrize("session", [{}, {"session_id": "l2"}])
def test_a_change_of_profile_lifts_no_limit(http: httpx.Client, session: dict[str, str]) -> None:
    viewer = {"user": "viewer", **session}
    for name in ("default", "client", "reader"):
        http.post("/", params=viewer, content=f"SET profile = '{name}'")

    for params in ({"max_memory_usage": "0"}, {"profile": "default", "max_memory_usage": "0"}):
        assert "SETTING_CONSTRAINT_VIOLATION" in http.post("/", params={**viewer, **params}, content="SELECT 1").text
    assert http.post("/", params=viewer, content="SELECT getSetting('max_memory_usage')").text == f"{4 << 30}\n"


def test_a_limit_of_a_subquery_lifts_none_of_the_statement(http: httpx.Client) -> None:
    viewer = {"user": "viewer", "max_memory_usage": "100000000"}
    inner = "SELECT length(groupArray(number)) FROM numbers(50000000)"
    answer = http.post("/", params=viewer, content=f"SELECT * FROM ({inner} SETTINGS max_memory_usage = 0)")

    assert answer.headers["X-ClickHouse-Exception-Code"] == "241"


def test_a_readonly_user_may_lower_its_limits_and_who_writes_may_set_them(http: httpx.Client) -> None:
    limits = "SELECT getSetting('max_memory_usage'), getSetting('max_execution_time')"
    lower = {"max_memory_usage": "1000000000", "max_execution_time": "7"}
    higher = {"max_memory_usage": "9000000000", "max_execution_time": "700"}

    assert http.post("/", params={"user": "viewer", **lower}, content=limits).text == "1000000000\t7\n"
    assert http.post("/", params=higher, content=limits).text == "9000000000\t700\n"
    assert http.get("/", params={"query": limits, **higher}).text == "9000000000\t700\n"
    assert "452" in http.post("/?workload=default", content="SELECT 1").headers["X-ClickHouse-Exception-Code"]


def test_a_password_is_checked(server: Server) -> None:
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        server.client(username="writer", password="bad")
    made = server.client(username="writer", password="se:cret")
    assert rows_of(made, "SELECT 1") == [(1,)]
    made.close()


@pytest.mark.parametrize("path", ["/?user=writer&password=se:cret", "/?user=writer&password=bad"])
def test_credentials_may_come_in_the_url(http: httpx.Client, path: str) -> None:
    assert http.post(path, content="SELECT 1").status_code == (200 if path.endswith("cret") else 403)


def test_get_may_not_write(http: httpx.Client, client: Client, table: str) -> None:
    answer = http.get("/", params={"query": f"DROP TABLE {table}"})
    assert "READONLY" in answer.text
    assert count(client, table) == 0


def test_a_client_may_give_up_writing_without_taking_others_with_it(http: httpx.Client, table: str) -> None:
    assert "READONLY" in http.post("/?readonly=1", content=f"DROP TABLE {table}").text
    for _ in range(4):
        assert http.post("/", content=f"INSERT INTO {table} VALUES (1, 2, 'x')").status_code == 200


def test_a_session_keeps_its_temporary_tables_even_after_an_error(server: Server) -> None:
    session = server.client(session_id=f"s-{uuid.uuid4().hex}")
    session.command("CREATE TEMPORARY TABLE kept (a UInt8)")
    session.command("INSERT INTO kept VALUES (5)")
    with pytest.raises(DatabaseError, match="boom"):
        session.query(FAILS_LATE, settings={"wait_end_of_query": 1})
    assert rows_of(session, "SELECT * FROM kept") == [(5,)]
    session.close()


async def test_a_session_is_locked_while_it_runs(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as many:
        path = f"/?session_id=s-{uuid.uuid4().hex}"
        answers = await asyncio.gather(*(many.post(path, content="SELECT sleep(0.3)") for _ in range(2)))
    codes = sorted(answer.headers.get("X-ClickHouse-Exception-Code", "") for answer in answers)
    assert codes == ["", "373"]


def test_temporary_tables_do_not_outlive_a_request_without_session(http: httpx.Client) -> None:
    http.post("/", content="CREATE TEMPORARY TABLE gone (a UInt8)")
    assert [http.post("/", content="SELECT * FROM gone").status_code for _ in range(4)] == [404] * 4


def test_external_tables_come_with_their_query(client: Client) -> None:
    external = ExternalData(file_name="ext", data=b"1,a\n2,b\n", fmt="CSV", structure=["id UInt32", "n String"])
    assert rows_of(client, "SELECT * FROM ext", external_data=external) == [(1, "a"), (2, "b")]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM ext")


# Other clients


async def test_the_async_client_runs_queries_at_once(server: Server) -> None:
    many = await clickhouse_connect.get_async_client(host="127.0.0.1", port=server.port)
    results = await asyncio.gather(*(many.query(f"SELECT {number}, sleep(0.1)") for number in range(8)))
    await many.close()
    assert [result.result_rows[0][0] for result in results] == list(range(8))


def test_sqlalchemy_connects(server: Server) -> None:
    engine = sqlalchemy.create_engine(f"clickhousedb://default:@127.0.0.1:{server.port}/default")
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_plain_http_reads(http: httpx.Client) -> None:
    assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    answer = http.post("/", content="SELECT 1 a", headers={"X-ClickHouse-Format": "JSON"})
    assert answer.json()["data"] == [{"a": 1}]


def test_plain_http_takes_and_gives_gzip(http: httpx.Client, table: str) -> None:
    http.post(
        "/",
        params={"query": f"INSERT INTO {table} FORMAT CSV"},
        content=gzip.compress(b"7,8,packed\n"),
        headers={"Content-Encoding": "gzip"},
    )
    answer = http.get("/", params={"enable_http_compression": "1", "query": f"SELECT s FROM {table}"})
    assert (answer.text, answer.headers["Content-Encoding"]) == ("packed\n", "gzip")


def test_the_go_driver_is_told_revision_0(http: httpx.Client) -> None:
    sql = "SELECT displayName(), version(), revision(), timezone()"
    answer = http.post("/?client_protocol_version=54460&default_format=Native", content=sql)
    assert answer.content.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01")
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00" in answer.content


# Ending what runs


async def processes(many: httpx.AsyncClient, marker: str) -> int:
    sql = f"SELECT count() FROM system.processes WHERE query LIKE '%{marker}%' AND query NOT LIKE '%system%'"
    return int((await many.post("/", content=sql)).text)


@pytest.mark.parametrize("form", ["", " FORMAT JSON"], ids=["streamed", "whole"])
async def test_a_client_that_leaves_takes_its_query_with_it(server: Server, form: str) -> None:
    marker = uuid.uuid4().hex
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:
        leaving = asyncio.create_task(many.post("/", content=f"{ENDLESS} AND '{marker}' != ''{form}"))
        assert await eventually(lambda: processes(many, marker)) == 1
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        async def is_gone() -> bool:
            return await processes(many, marker) == 0

        assert await eventually(is_gone)


async def test_a_query_is_killed_by_its_clients_id(server: Server) -> None:
    query_id, marker = str(uuid.uuid4()), uuid.uuid4().hex
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:
        params: Mapping[str, str] = {"query_id": query_id}
        victim = asyncio.create_task(many.post("/", params=params, content=f"{ENDLESS} AND '{marker}' != ''"))
        assert await eventually(lambda: processes(many, marker)) == 1
        killed = await many.post("/", content=f"KILL QUERY WHERE query_id = '{query_id}' SYNC")
        answer = await victim
    assert killed.status_code == 200
    assert "QUERY_WAS_CANCELLED" in answer.text


async def test_an_id_in_use_is_refused(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as many:
        path = f"/?query_id={uuid.uuid4()}"
        answers = await asyncio.gather(*(many.post(path, content="SELECT sleep(0.3)") for _ in range(2)))
    assert sorted(answer.headers.get("X-ClickHouse-Exception-Code", "") for answer in answers) == ["", "216"]


def test_a_query_over_its_time_is_ended(http: httpx.Client) -> None:
    answer = http.post("/?max_execution_time=0.2", content=ENDLESS)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (408, "159")


def test_every_query_has_limits_by_default(http: httpx.Client) -> None:
    answer = http.post("/", content="SELECT getSetting('max_memory_usage'), getSetting('max_execution_time')")
    assert answer.text == f"{4 << 30}\t300\n"


async def test_an_upload_that_breaks_off_inserts_nothing_and_frees_its_place(server: Server, table: str) -> None:
    async def begins_and_stops() -> Any:
        yield b"1,2,x\n" * 20_000
        raise ConnectionError("the client dies")

    query = {"query": f"INSERT INTO {table} FORMAT CSV"}
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as many:
        for _ in range(4):
            with pytest.raises(ConnectionError):
                await many.post("/", params=query, content=begins_and_stops())
        answer = await many.post("/", content=f"SELECT count() FROM {table}")
    assert answer.text == "0\n"


def files_without_name(server: Server) -> int:
    """How many the server has open right in the engine's folder."""
    targets = []
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            targets.append(entry.readlink())
    return sum(target.parent == server.folder and target.name.endswith(" (deleted)") for target in targets)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_an_upload_that_is_cut_off_inserts_nothing_and_leaves_no_file(
    server: Server, client: Client, table: str
) -> None:
    listed = sorted(server.folder.iterdir())
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    query = f"/?query=INSERT+INTO+{table}+FORMAT+CSV"
    writer.write(f"POST {query} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1,2,x\n".encode())
    assert await eventually(lambda: files_without_name(server) == 1)
    assert sorted(server.folder.iterdir()) == listed
    writer.close()
    assert await eventually(lambda: files_without_name(server) == 0)
    assert count(client, table) == 0


async def test_many_clients_at_once_get_their_own_answers(server: Server) -> None:
    """Good, failing, cancelled and compressed requests share three connections; no answer is another's."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:

        async def reads(number: int) -> bool:
            path = f"/?max_block_size={1000 + number}&enable_http_compression={number % 2}"
            answer = await many.post(path, content=f"SELECT {number} FROM numbers(3000)")
            return answer.text == f"{number}\n" * 3000

        async def fails(number: int) -> bool:
            answer = await many.post("/?wait_end_of_query=1", content=FAILS_LATE.replace("boom", f"boom {number}"))
            return answer.status_code == 500 and f"boom {number}" in answer.text

        async def leaves(number: int) -> bool:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01 * (number % 5)):
                    await many.post("/", content=ENDLESS)
            return True

        work = [[reads, fails, reads, leaves][number % 4](number) for number in range(80)]
        assert all(await asyncio.gather(*work))
