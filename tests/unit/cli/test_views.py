from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.cli.account import Answer
from pipeline.cli.snapshot import ClickHouseStatus, Fleet, LaneOutlook, LaneStatus, LatencyModel, Snapshot
from pipeline.cli.views.cells import is_numeric, texts
from pipeline.cli.views.cluster import cluster_view
from pipeline.cli.views.sql import answer_view, broken, queries_table
from pipeline.cli.views.status import clickhouse_line, lanes_table, ranges, status_view
from pipeline.cli.views.table import duration
from pipeline.cli.views.topics import catalogue_table, findings_table, made_table
from pipeline.local.state import ClusterState
from pipeline.runtime.topics import Finding
from sinks.clickhouse.queries import load_queries
from tests.unit.cli.builders import a_heartbeat
from tests.unit.cli.rendering import rendered
from topics.catalogue import Topic

TOPIC = Topic(name="inference.responses", key="request id", value="Started", partitions=4, retention_ms=3_600_000)
ACCOUNT = ClickHouseStatus(url="http://c:8123", version="26.5", recorder_lag=0)


def a_snapshot(**fields: Any) -> Snapshot:
    fleet = Fleet()
    fleet.feed(a_heartbeat("quick"), at_ms=9_900)
    fleet.feed(a_heartbeat("silent"), at_ms=5_000)
    outlook = LaneOutlook(
        processors=("p1",),
        queued=35,
        slack_ms=310,
        batch_size=12,
        size_limit=16,
        saturation=0.5,
        model_error_ratio=0.043,
        is_paused=False,
        is_deferring=True,
    )
    lanes = (
        LaneStatus(
            model="tiny", latency_class="interactive", arrived=1200, arrivals_per_s=4.25, lag=37, outlook=outlook
        ),
        LaneStatus(model="tiny", latency_class="bulk", arrived=50_000, arrivals_per_s=0, lag=12_345),
    )
    defaults: dict[str, Any] = {"lanes": lanes, "workers": fleet.workers(now_ms=10_000), "clickhouse": ACCOUNT}
    return Snapshot(kafka="k:9092", **{**defaults, **fields})


def test_status_shows_lanes_workers_and_what_stands_behind() -> None:
    said = rendered(status_view(a_snapshot()))

    rows = [line.split() for line in said.splitlines()]
    lane = ["tiny", "interactive", "4.2", "37", "35", "310", "ms", "12/16", "━━━───", "50%", "4.3%", "filling"]
    assert lane in rows
    assert ["bulk", "0.0", "12,345", "-", "-", "-", "-", "-", "no", "processor"] in rows
    assert ["quick", "tiny@v1", "ready", "3", "1", "13/16", "75%", "0-1", "100", "ms"] in rows
    assert ["silent", "tiny@v1", "stale", "3", "1", "13/16", "75%", "0-1", "5.0", "s"] in rows
    assert "✓ ClickHouse  http://c:8123  26.5  recorder has caught up" in said


def test_status_shows_what_was_learned_of_the_engines() -> None:
    shape = {"batch": 10_240.0, "request": 31.5, "token": 0.0421}
    model = LatencyModel(
        model="tiny",
        deployment="tiny@v1",
        processor="p1",
        shape_us=shape,
        scale=1.034,
        safety=1.1,
        samples=18_250,
        error_ratio=0.043,
    )
    steps = replace(model, shape_us={"step": 900.0, "kv_token": 0.0}, safety=1.0)

    rows = [line.split("  ") for line in rendered(status_view(a_snapshot(latency_models=(model, steps)))).splitlines()]

    told = [[cell.strip() for cell in row if cell] for row in rows if row[0] == "tiny@v1"]
    assert told == [
        ["tiny@v1", "10.2 ms/batch + 32 µs/request + 0.042 µs/token", "×1.03", "×1.10", "18,250", "4.3%"],
        ["tiny@v1", "900 µs/step + 0/kv token", "×1.03", "-", "18,250", "4.3%"],
    ]


def test_a_lane_that_is_late_paused_and_overloaded_says_so() -> None:
    outlook = LaneOutlook(
        processors=("p1",),
        queued=2000,
        slack_ms=-4210,
        batch_size=40,
        size_limit=32,
        saturation=1.37,
        model_error_ratio=0.0,
        is_paused=True,
        is_deferring=True,
    )
    lane = LaneStatus(model="m", latency_class="bulk", arrived=1, arrivals_per_s=0, lag=9000, outlook=outlook)

    said = rendered(lanes_table([lane])).splitlines()[-1].split()

    assert said[3:] == ["9,000", "2,000", "-4.2", "s", "40/32", "━━━━━━", "137%", "-", "paused"]


def test_status_of_an_empty_cluster_says_so() -> None:
    said = rendered(status_view(a_snapshot(lanes=(), workers=(), missing_topics=("t",))))

    assert "no lanes: the settings have no models" in said
    assert "no workers: none has sent a heartbeat in the last 10 s" in said
    assert "✗ topics missing: t; millrace topics create" in said


def test_status_fits_100_columns() -> None:
    assert max(map(len, rendered(status_view(a_snapshot()), columns=100).splitlines())) <= 100


def test_clickhouse_that_does_not_answer_says_why() -> None:
    said = rendered(clickhouse_line(ClickHouseStatus(url="http://c:8123", problem="connection refused")))

    assert said == "✗ ClickHouse  http://c:8123  connection refused"


def test_a_recorder_that_is_behind_says_how_much() -> None:
    assert "recorder is 1,500 messages behind" in rendered(
        clickhouse_line(ClickHouseStatus(url="u", version="1", recorder_lag=1500))
    )


@pytest.mark.parametrize(("numbers", "text"), [((), ""), ((3,), "3"), ((0, 1, 2), "0-2"), ((0, 2, 3, 7), "0 2-3 7")])
def test_runs_of_slots_are_drawn_together(numbers: tuple[int, ...], text: str) -> None:
    assert ranges(numbers) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.012, "12 ms"),
        (3.44, "3.4 s"),
        (310, "5 min 10 s"),
        (7500, "2 h 05 min"),
        (176_400, "49 h"),
        (604_800, "7 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_findings_say_what_is_wrong_with_each_topic() -> None:
    findings = [
        Finding(topic=TOPIC, partitions=4),
        Finding(topic=TOPIC, partitions=0),
        Finding(topic=TOPIC, partitions=2, differences=("retention.ms is 1, expected 2",)),
    ]

    right, missing, odd = rendered(findings_table(findings)).splitlines()[1:]

    assert right.split() == ["✓", "inference.responses", "4/4"]
    assert missing.endswith("does not exist")
    assert odd.endswith("has 2 partitions, needs 4; retention.ms is 1, expected 2")


def test_what_was_made_is_told_from_what_was_there() -> None:
    before = [Finding(topic=TOPIC, partitions=count) for count in (0, 1, 4)]

    lines = rendered(made_table(before)).splitlines()[1:]

    assert [line.rpartition("4  ")[2] for line in lines] == ["created", "3 partitions added", "was there"]


def test_the_catalogue_says_how_long_records_are_kept() -> None:
    compacted = Topic(name="c", key="k", value="v", partitions=1, retention_ms=0, cleanup="compact")

    said = rendered(catalogue_table([TOPIC, compacted]))

    assert " 1 h " in said
    assert " compacted " in said


def test_rows_of_a_query_are_counted_and_numbers_are_grouped() -> None:
    answer = Answer(columns=("class", "requests"), rows=[("bulk", 12345), ("b", None)])

    said = rendered(answer_view("Title", answer, width=100))

    assert said.splitlines()[0] == "Title"
    assert ["bulk", "12,345"] in [line.split() for line in said.splitlines()]
    assert said.splitlines()[-1].strip() == "2 rows"


@pytest.mark.parametrize(("columns", "is_table"), [(60, True), (20, False)])
def test_rows_that_do_not_fit_stand_one_below_the_other(columns: int, is_table: bool) -> None:
    answer = Answer(columns=("first", "second", "third"), rows=[("a" * 8, "b" * 8, None)])

    said = rendered(answer_view("", answer, width=columns), columns=columns)

    assert ("row 1" not in said) == is_table
    assert "aaaaaaaa" in said


def test_names_are_broken_behind_underscores_before_rows_are_taken_apart() -> None:
    answer = Answer(columns=("tenant", "busy_usd_per_million_out"), rows=[("acme", 22.55)])

    head = rendered(answer_view("", answer, width=24), columns=24).splitlines()[:2]

    assert [line.split() for line in head] == [["busy_usd_per_"], ["tenant", "million_out"]]
    assert [len(line) for line in head] == [21, 21]


def test_a_table_that_is_too_wide_spares_decimals_before_it_folds_names() -> None:
    answer = Answer(columns=("code", "ms"), rows=[("deadline_exceeded", 1234.56)])

    assert "deadline_exceeded  1,234.6" in rendered(answer_view("", answer, width=26))
    assert "deadline_exceeded  1,235" in rendered(answer_view("", answer, width=24))
    assert [line.split() for line in rendered(answer_view("", answer, width=20)).splitlines()[1:3]] == [
        ["deadline_", "1,235"],
        ["exceeded"],
    ]


def test_no_rows_are_said_to_be_none_however_narrow_their_table() -> None:
    assert rendered(answer_view("", Answer(columns=("n",), rows=[]), width=100)).splitlines() == ["n", "0 rows"]


def test_columns_move_together_before_rows_are_taken_apart() -> None:
    answer = Answer(columns=("a", "b"), rows=[(1, 2)])

    assert rendered(answer_view("", answer, width=3)).splitlines() == ["a b", "1 2", "1 row"]
    assert rendered(answer_view("", answer, width=2)).splitlines() == ["row 1", "a  1", "b  2", "1 row"]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("ttft_p50_ms", 6, ["ttft_", "p50_ms"]),
        ("inference.requests.tiny.bulk", 20, ["inference.requests.", "tiny.bulk"]),
        ("abcdef", 3, ["abcdef"]),
        ("", 3, [""]),
    ],
)
def test_names_are_broken_where_a_part_of_them_ends(text: str, width: int, lines: list[str]) -> None:
    assert broken(text, width) == lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (True, "true"),
        (1234, "1,234"),
        (0.12345, "0.1235"),
        (123456.78, "123,456.8"),
        (float("inf"), "inf"),
        (b"\x01\xff", "01ff"),
        ([1, 2.5, "a"], "1, 2.5, a"),
        (datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC), "2026-01-02 03:04:05.678"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert texts("x", [value]) == [text]


def test_numbers_of_a_column_have_the_same_decimals_and_small_ones_do_not_vanish() -> None:
    assert texts("x", [12.5, 3.25, 0.001, 0.0]) == ["12.50", "3.25", "0.0010", "0.00"]
    assert texts("x", [1.0, 2.0]) == ["1", "2"]
    assert texts("x", [1234.56, 1.0], short=True) == ["1,235", "1"]


def test_times_of_a_column_are_as_short_as_all_of_them_allow() -> None:
    minute, second = datetime(2026, 1, 2, 3, 4, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    assert texts("minute", [minute]) == ["2026-01-02 03:04"]
    assert texts("at", [minute, second]) == ["2026-01-02 03:04:00", "2026-01-02 03:04:05"]
    assert texts("at", [second.replace(microsecond=678_000)], short=True) == ["2026-01-02 03:04:05"]


def test_a_column_that_says_yes_or_no_is_no_number() -> None:
    assert texts("is_even", [1, 0]) == ["yes", "no"]
    assert not is_numeric("is_even", [1, 0])
    assert is_numeric("rows", [1, 0, None])


def test_every_named_query_is_listed_with_its_parameters() -> None:
    said = rendered(queries_table(list(load_queries().values())))

    assert [name for name in load_queries() if name not in said] == []
    assert "--param id=…  the request's id (String, needed)" in said


def test_a_cluster_says_where_its_metrics_are() -> None:
    running = ClusterState(
        pid=1, config="/m", kafka="k:1", clickhouse="http://c:2", logs="/l", metrics={"recorder": "http://h:9/metrics"}
    )

    assert "http://h:9/metrics  recorder" in rendered(cluster_view("default", running))


def test_a_cluster_says_where_it_is_and_how_to_go_on() -> None:
    running = ClusterState(pid=1, config="/m.toml", kafka="k:1", clickhouse="http://c:2", logs="/l", processes={"w": 2})

    said = rendered(cluster_view("other", running))

    assert "k:1" in said
    assert 'eval "$(millrace env --name other)"' in said
    assert "millrace down --name other" in said
