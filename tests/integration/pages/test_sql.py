"""`millrace sql` on a generated account: what the named queries look like to people."""

import pytest

from pipeline.cli.failures import FAILED, OK
from pipeline.cli.main import main
from pipeline.cli.sql import for_people
from tests.integration.pages.conftest import Served

pytestmark = pytest.mark.integration

COLUMNS = 110
TOO_WIDE = {"history", "reconcile_gpu_time"}
"""Twelve columns of numbers and more: each row is a block."""
QUERIES = [query.name for query in for_people() if all(parameter.default is not None for parameter in query.parameters)]


@pytest.mark.parametrize("name", QUERIES)
def test_a_named_query_is_a_table_that_fits(
    name: str, served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    assert main(["sql", "--query", name]) == OK

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= COLUMNS
    assert "row 1" not in lines or name in TOO_WIDE


def test_a_statement_that_the_server_refuses_is_one_line(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)

    assert main(["sql", "SELECT nothing"]) == FAILED

    assert len(capsys.readouterr().err.splitlines()) == 1
