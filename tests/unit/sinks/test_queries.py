"""The named queries: what a file says about itself."""

import pytest

from sinks.clickhouse.queries import Parameter, Query, load_queries
from sinks.clickhouse.queries.loader import parse
from topics.errors import InvalidRequest, SettingsError

SOURCE = """-- title: Things
-- What the rows
-- mean.
-- parameter: hours Float64 = 24  how far back
-- parameter: id String  which
SELECT {hours:Float64}, {id:String}
"""


def test_a_file_is_read() -> None:
    assert parse("things", SOURCE) == Query(
        name="things",
        title="Things",
        meaning="What the rows mean.",
        parameters=(
            Parameter(name="hours", type="Float64", default="24", meaning="how far back"),
            Parameter(name="id", type="String", default=None, meaning="which"),
        ),
        text="SELECT {hours:Float64}, {id:String}",
    )


def test_defaults_are_filled_in_and_what_has_none_stays() -> None:
    assert parse("things", SOURCE).sql == "SELECT CAST('24' AS Float64), {id:String}"


def test_values_are_what_was_given_and_else_the_default() -> None:
    assert parse("things", SOURCE).values({"id": "x"}) == {"hours": "24", "id": "x"}


@pytest.mark.parametrize(
    ("given", "message"), [({}, "needs a value for id"), ({"id": "x", "y": "1"}, "no parameter y")]
)
def test_wrong_values_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse("things", SOURCE).values(given)


@pytest.mark.parametrize(
    "source",
    ["SELECT 1", "-- title: T\nSELECT 1", "-- title: T\n-- M.\n-- parameter: x\nSELECT 1"],
)
def test_a_file_that_does_not_say_what_it_is_is_refused(source: str) -> None:
    with pytest.raises(SettingsError, match="query q"):
        parse("q", source)


def test_a_parameter_that_is_not_used_is_refused() -> None:
    with pytest.raises(SettingsError, match="parameter hours of type Float64 is not used"):
        parse("q", "-- title: T\n-- M.\n-- parameter: hours Float64 = 1  x\nSELECT 1")


def test_the_shipped_queries_are_these() -> None:
    assert list(load_queries()) == [
        "batch_sizes",
        "engine_batches",
        "latency_by_class_and_station",
        "one_request",
        "reconcile",
        "recording",
        "slowest",
        "throughput",
        "tokens_and_engine_seconds_by_tenant",
    ]
