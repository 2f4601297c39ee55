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


ASKED_FOR = (
    "batch_distribution",
    "cache_savings",
    "canary_against_stable",
    "cost_by_tenant",
    "cost_by_version",
    "cost_per_million_tokens",
    "error_budget",
    "idle_cost",
    "labels_by_version",
    "latency_by_class_and_station",
    "latency_over_time",
    "one_request",
    "prediction_error",
    "quality_by_version",
    "queue_depth",
    "reconcile",
    "reconcile_gpu_time",
    "rejected_by_reason",
    "slo_attainment",
    "slowest",
    "throughput",
    "top_tenants",
    "unpriced_gpu_time",
    "wasted_cost",
    "where_time_goes",
)


def test_the_questions_that_operators_finance_and_owners_have_are_shipped() -> None:
    assert set(ASKED_FOR) <= load_queries().keys()


@pytest.mark.parametrize("query", load_queries().values(), ids=lambda query: query.name)
def test_every_query_says_what_it_means(query: Query) -> None:
    assert len(query.meaning) > 20
    assert query.text.lstrip().startswith(("SELECT", "WITH"))
