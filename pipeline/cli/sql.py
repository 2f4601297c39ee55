"""Query the account: a statement of your own, or a named query that ships with Millrace.

Statements without a database look into `trace` (clickhouse.database). Column names tell units: _ms, _us, _ns, tokens_.
"""

import argparse
import csv
import difflib
import sys
from collections.abc import Callable
from typing import Any, Final

from pipeline.cli.account import Answer, account, ask
from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.views.sql import answer_view, queries_table
from sinks.clickhouse.queries import Query, load_queries
from topics.errors import SettingsError

EXAMPLE = """\
millrace sql "SELECT latency_class, count() FROM requests_final GROUP BY latency_class"
millrace sql --query latency_by_class_and_station --param hours=1
millrace sql --query slowest --format csv > slowest.csv"""
PARTS: Final = ("report_", "trace_")
"""Beginnings of the names of queries that `millrace report` and `millrace trace` are made of."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The statement, and how its rows are printed."""
    parser.add_argument("statement", metavar="SQL", nargs="?", help="statement; - reads it from stdin")
    parser.add_argument("--query", metavar="NAME", help="named query instead of a statement")
    parser.add_argument(
        "--param", dest="params", metavar="K=V", action="append", default=[], help="parameter {K:Type}; repeatable"
    )
    parser.add_argument("--list", action="store_true", help="list the named queries and their parameters")
    parser.add_argument("--format", choices=sorted(PRINTERS), default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Ask, and print the rows."""
    if args.list:
        found = for_people()
        emit_json(found) if args.json else terminal().print(queries_table(found))
        return OK
    query = _named(args.query) if args.query is not None else None
    title, text, values = statement_of(args, query)
    with account(settings_of(args).clickhouse) as client:
        answer = ask(client, text, values)
    PRINTERS["json" if args.json else args.format](title, answer)
    return OK


def statement_of(args: argparse.Namespace, query: Query | None) -> tuple[str, str, dict[str, str]]:
    """Title, text and parameter values of what is asked.

    Raises:
        SettingsError: neither a statement nor a query was given, or both, or a parameter has no value.
        InvalidRequest: a parameter of the query is missing or unknown.
    """
    if (args.statement is None) == (query is None):
        raise SettingsError("give a statement or --query NAME, one of them; --list shows the named queries")
    values = params_of(args.params)
    if query is not None:
        return query.title, query.text, query.values(values)
    return "", sys.stdin.read() if args.statement == "-" else args.statement, values


def params_of(items: list[str]) -> dict[str, str]:
    """`["hours=1"]` as `{"hours": "1"}`.

    Raises:
        SettingsError: an item has no `=`.
    """
    for item in items:
        if "=" not in item:
            raise SettingsError(f"--param {item!r} has no '='; write NAME=VALUE")
    return {name: value for name, _, value in (item.partition("=") for item in items)}


def for_people() -> list[Query]:
    """The named queries that answer a question by themselves; the others are parts of a page."""
    return [query for name, query in load_queries().items() if not name.startswith(PARTS)]


def _named(name: str) -> Query:
    query = load_queries().get(name)
    if query is None:
        near = difflib.get_close_matches(name, [query.name for query in for_people()], n=3, cutoff=0.5)
        words = f"did you mean {' or '.join(near)}?" if near else "`millrace sql --list` shows what there is"
        raise SettingsError(f"there is no query {name!r}; {words}")
    return query


def _print_table(title: str, answer: Answer) -> None:
    console = terminal()
    console.print(answer_view(title, answer, width=console.width))


def _print_json(title: str, answer: Answer) -> None:
    emit_json([dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows])


def _print_csv(title: str, answer: Answer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)


def _plain(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value != value:  # NaN: of no rows
        return None
    return value


PRINTERS: Final[dict[str, Callable[[str, Answer], None]]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}
