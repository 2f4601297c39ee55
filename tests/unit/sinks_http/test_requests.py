"""What a client asks for by its URL and headers."""

import pytest

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.requests import external_table, read_options


def test_what_is_no_transport_parameter_is_a_setting() -> None:
    options = read_options({"query": "x", "max_threads": "2", "param_a": "1", "database": "d", "session_id": "s"}, {})
    assert options.settings == {"max_threads": "2"}
    assert options.params == {"a": "1"}
    assert (options.database, options.session_id) == ("d", "s")


def test_parameters_of_external_tables_are_no_settings() -> None:
    url = {"ext_format": "CSV", "ext_structure": "a UInt8", "other_format": "x"}
    assert read_options(url, {}, tables=frozenset({"ext"})).settings == {"other_format": "x"}


def test_a_setting_needs_a_name() -> None:
    with pytest.raises(StatementError) as caught:
        read_options({"a = 1, b": "1"}, {})
    assert caught.value.engine_code == 115


def test_the_url_wins_over_headers() -> None:
    headers = {"X-ClickHouse-Database": "h", "X-ClickHouse-Format": "CSV"}
    options = read_options({"database": "u"}, headers)
    assert (options.database, options.default_format) == ("u", "CSV")


@pytest.mark.parametrize(
    ("url", "headers", "accepted"),
    [
        ({}, {"Accept-Encoding": "gzip"}, ""),
        ({"enable_http_compression": "1"}, {"Accept-Encoding": "gzip"}, "gzip"),
        ({"enable_http_compression": "0"}, {"Accept-Encoding": "gzip", "User-Agent": "clickhouse-go/2"}, ""),
        ({}, {"Accept-Encoding": "gzip", "User-Agent": "clickhouse-go/2"}, "gzip"),
    ],
)
def test_compression_must_be_asked_for(url: dict[str, str], headers: dict[str, str], accepted: str) -> None:
    assert read_options(url, headers).accept_encoding == accepted


@pytest.mark.parametrize("name", ["compress", "decompress"])
def test_block_compression_is_refused(name: str) -> None:
    with pytest.raises(StatementError) as caught:
        read_options({name: "1"}, {})
    assert (caught.value.engine_code, caught.value.status) == (48, 501)


def test_every_request_has_an_id() -> None:
    assert read_options({"query_id": "mine"}, {}).query_id == "mine"
    assert read_options({}, {}).query_id != read_options({}, {}).query_id


def test_a_session_lasts_an_hour_at_most() -> None:
    assert read_options({"session_timeout": "1e9"}, {}).session_timeout_s == 3600
    with pytest.raises(StatementError, match="not a number"):
        read_options({"session_timeout": "soon"}, {})


def test_an_external_table_is_described_by_structure_or_types() -> None:
    assert external_table("e", b"", {"e_structure": "a UInt8", "e_format": "CSV"}).structure == "a UInt8"
    assert external_table("e", b"", {"e_types": "UInt8,String"}).structure == "_1 UInt8, _2 String"
    assert external_table("e", b"", {}).format == "TabSeparated"
