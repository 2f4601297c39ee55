"""What is read off a statement before the engine sees it."""

import pytest

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.statement import Kind, literals, parse, replace_literals


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        (b"SELECT 1", Kind.SELECT),
        (b"  -- why\n/* ; */ select 1", Kind.SELECT),
        (b"(SELECT 1) UNION ALL (SELECT 2)", Kind.SELECT),
        (b"WITH 1 AS x SELECT x", Kind.SELECT),
        (b"FROM t SELECT a", Kind.SELECT),
        (b"WITH 1 AS x INSERT INTO t SELECT x", Kind.INSERT_INLINE),
        (b"SHOW TABLES", Kind.SHOW),
        (b"explain select 1", Kind.SHOW),
        (b"INSERT INTO t FORMAT CSV\n1\n", Kind.INSERT_DATA),
        (b"INSERT INTO t (a, b)", Kind.INSERT_DATA),
        (b"INSERT INTO t VALUES (1)", Kind.INSERT_INLINE),
        (b"INSERT INTO t SELECT 1", Kind.INSERT_INLINE),
        (b"INSERT INTO t (`values`) FORMAT CSV", Kind.INSERT_DATA),
        (b"KILL QUERY WHERE 1", Kind.KILL),
        (b"CREATE TABLE t (a UInt8) ENGINE = Memory", Kind.OTHER),
        (b"", Kind.OTHER),
    ],
)
def test_the_kind_follows_the_words(sql: bytes, kind: Kind) -> None:
    assert parse(sql).kind is kind


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 format CSV ;", "CSV"),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1, log_comment = 'a'", "JSON"),
        (b"SELECT 1 FORMAT JSON -- as the page wants it", "JSON"),
        (b"SELECT format FROM t", None),
        (b"SELECT a FROM t ORDER BY format DESC", None),
        (b"SELECT format('{}', a) FROM t", None),
        (b"SELECT ' FORMAT JSON'", None),
        (b"SELECT * FROM (SELECT 1 FORMAT JSON)", None),
    ],
)
def test_a_format_counts_only_at_the_end(sql: bytes, name: str | None) -> None:
    assert parse(sql).format == name


@pytest.mark.parametrize(
    ("sql", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\r\n1,2\n", b"1,2\n"),
        (b"INSERT INTO t FORMAT JSONEachRow {}", b"{}"),
        (b"INSERT INTO t FORMAT TSV;\n\n", b"\n"),
        (b"INSERT INTO t FORMAT RowBinary\n\n\x00;'", b"\n\x00;'"),
    ],
)
def test_rows_begin_after_the_line_of_the_format(sql: bytes, data: bytes) -> None:
    assert parse(sql).data == data


@pytest.mark.parametrize(
    ("sql", "text", "settings"),
    [
        (b"INSERT INTO t SETTINGS async_insert = 0 FORMAT CSV\n1", b"INSERT INTO t", b"SETTINGS async_insert = 0"),
        (b"INSERT INTO t (a) settings a = 'FORMAT x', b=1", b"INSERT INTO t (a)", b"settings a = 'FORMAT x', b=1"),
        (b"INSERT INTO settings FORMAT CSV\n1", b"INSERT INTO settings", b""),
        (b"INSERT INTO settings SETTINGS a = 1 FORMAT CSV\n1", b"INSERT INTO settings", b"SETTINGS a = 1"),
        (b"INSERT INTO t (settings) FORMAT CSV\nSETTINGS a = 1", b"INSERT INTO t (settings)", b""),
    ],
)
def test_an_insert_is_parted_from_its_settings_and_format(sql: bytes, text: bytes, settings: bytes) -> None:
    statement = parse(sql)
    assert (statement.text.strip(), statement.settings.strip()) == (text, settings)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT LineAsString", 78),
        (b"INSERT INTO t (a) from/**/infile $$/etc/passwd$$ FORMAT LineAsString", 78),
        (b"WITH 1 AS x INSERT INTO t FROM INFILE 'x' FORMAT CSV", 78),
        (b"SELECT 1 INTO OUTFILE 'x'", 358),
        (b"EXPLAIN SELECT 1 INTO -- where\n OUTFILE 'x' FORMAT CSV", 358),
    ],
)
def test_files_of_the_server_are_refused(sql: bytes, code: int) -> None:
    with pytest.raises(StatementError, match="FILE is not allowed") as caught:
        parse(sql)
    assert caught.value.engine_code == code


@pytest.mark.parametrize(
    "sql", [b"SELECT a FROM infile", b"SELECT $$FROM INFILE 'x'$$", b"INSERT INTO outfile VALUES ('x')"]
)
def test_tables_may_be_named_like_files(sql: bytes) -> None:
    assert parse(sql).text == sql


def test_a_bare_select_has_no_format_and_keeps_its_settings() -> None:
    assert (
        parse(b"SELECT 1 FORMAT Native SETTINGS max_threads = 1").bare.split()
        == b"SELECT 1 SETTINGS max_threads = 1".split()
    )


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 1; SELECT 2",
        b"SELECT 1;; DROP TABLE t",
        b"SET a = 1; SELECT 2",
        b"INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
        b"INSERT INTO t SELECT 1; SELECT 2",
    ],
)
def test_a_second_statement_is_refused(sql: bytes) -> None:
    with pytest.raises(StatementError, match="Multi-statements") as caught:
        parse(sql)
    assert caught.value.engine_code == 62


@pytest.mark.parametrize(
    "sql", [b"SELECT ';'", b"SELECT 1; -- done", b'SELECT ";"', b"SELECT $$;$$", b"SELECT $a$ $$; $a$"]
)
def test_a_semicolon_that_ends_nothing_is_no_second_statement(sql: bytes) -> None:
    assert parse(sql).kind is Kind.SELECT


def test_an_insert_may_end_with_a_semicolon() -> None:
    assert parse(b"INSERT INTO t VALUES (';'), ('a;b') ;\n").text == b"INSERT INTO t VALUES (';'), ('a;b') "


def test_whole_literals_are_replaced() -> None:
    sql = b"KILL QUERY WHERE query_id IN ('a', 'ab') OR user = 'it''s'"
    assert literals(sql) == {"a", "ab", "it''s"}
    assert replace_literals(sql, {"a": "engine"}) == b"KILL QUERY WHERE query_id IN ('engine', 'ab') OR user = 'it''s'"


def test_a_megabyte_of_literals_is_read_in_one_pass() -> None:
    sql = b"SELECT a IN (" + b",".join(b"'%d'" % number for number in range(100_000)) + b") FORMAT JSON"
    assert parse(sql).format == "JSON"
