import argparse
import math
from typing import Any

import pytest

from pipeline.cli.account import Answer
from pipeline.cli.main import main
from pipeline.cli.sql import PRINTERS, params_of, statement_of
from sinks.clickhouse.queries import load_queries
from topics.errors import InvalidRequest, SettingsError

ANSWER = Answer(columns=("name", "n"), rows=[("a,b", 1), (b"\x01", math.nan)])


def arguments(statement: str | None = None, *params: str) -> argparse.Namespace:
    return argparse.Namespace(statement=statement, params=list(params))


def test_a_statement_goes_as_it_is_with_its_parameters() -> None:
    assert statement_of(arguments("SELECT {x:Int8}", "x=1"), None) == ("", "SELECT {x:Int8}", {"x": "1"})


def test_a_named_query_gets_defaults_for_what_was_not_given() -> None:
    query = load_queries()["slowest"]

    title, text, values = statement_of(arguments(None, "limit=3"), query)

    assert (title, text) == (query.title, query.text)
    assert values == {"limit": "3", "hours": "1"}


def test_a_named_query_says_which_parameter_it_needs() -> None:
    with pytest.raises(InvalidRequest, match="needs a value for id"):
        statement_of(arguments(), load_queries()["one_request"])


@pytest.mark.parametrize("line", [["sql"], ["sql", "SELECT 1", "--query", "slowest"], ["sql", "--query", "nope"]])
def test_exactly_one_known_question_is_asked(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    assert "millrace: error: " in capsys.readouterr().err


def test_a_parameter_needs_a_value() -> None:
    with pytest.raises(SettingsError, match="write NAME=VALUE"):
        params_of(["hours"])


def test_a_value_may_have_an_equals_sign() -> None:
    assert params_of(["id=a=b"]) == {"id": "a=b"}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", 'name,n\n"a,b",1\n'),
        ("json", '[\n  {\n    "name": "a,b",\n    "n": 1\n  },\n  {\n    "name": "01",\n    "n": null\n  }\n]\n'),
    ],
)
def test_rows_for_programs(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    PRINTERS[form]("", ANSWER)

    assert capsys.readouterr().out.startswith(text)


def test_the_list_of_queries_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    import msgspec

    assert main(["sql", "--list", "--json"]) == 0

    listed: list[dict[str, Any]] = msgspec.json.decode(capsys.readouterr().out)
    names = [query["name"] for query in listed]
    assert {"one_request", "slowest", "reconcile_gpu_time"} <= set(names) < set(load_queries())
    assert [name for name in names if name.startswith(("report_", "trace_"))] == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cost_by_tennant", "there is no query 'cost_by_tennant'; did you mean cost_by_tenant"),
        ("zzz", "`millrace sql --list` shows what there is"),
    ],
)
def test_a_query_that_is_not_there_is_answered_with_the_nearest(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", "--query", name]) == 2

    said = capsys.readouterr().err
    assert says in said
    assert "report_" not in said
