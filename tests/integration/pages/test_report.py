"""`millrace report` and `millrace trace` over HTTP, on a generated account with crashes, retries and cancellations."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from pipeline.cli.failures import FAILED, OK, USAGE
from pipeline.cli.main import main
from pipeline.report.asking import asked, gather
from pipeline.report.facts import Facts
from pipeline.report.plots.frame import Span
from pipeline.report.story import Attempt, Event, Story, stories
from tests.integration.pages.browser import cut_off, needs_browser
from tests.integration.pages.conftest import REQUESTS, Served
from tests.unit.report.pages import assert_page_is_whole, assert_page_stands_alone, pictures
from topics.trace_rows import RequestRow

pytestmark = pytest.mark.integration

SECOND = 1_000_000


@pytest.fixture
def facts(client: Client, served: Served) -> Facts:
    """Everything about the whole account, in steps of a minute."""
    span = Span(from_s=served.rows.begins_us // SECOND, to_s=served.rows.ends_us // SECOND + 1, step_s=60)
    return gather(client, span, plan="on_demand", now_s=datetime.now(UTC).timestamp())


def test_requests_are_counted_once_whatever_was_told(facts: Facts, served: Served) -> None:
    finals = served.rows.finals()

    assert facts.totals.requests == len(finals) == REQUESTS
    assert facts.totals.completed == sum(row.outcome == "completed" for row in finals)
    assert sum(row.requests for row in facts.throughput) == REQUESTS
    assert sum(row.requests for row in facts.refusals) == REQUESTS - facts.totals.completed
    assert sum(row.ended for row in facts.ends) == sum(row.final_rows for row in facts.ends) == REQUESTS


def test_gpu_time_is_the_sum_of_all_attempts_to_the_nanosecond(facts: Facts, served: Served) -> None:
    used = sum(row.gpu_ns for row in served.rows.attempts())

    assert sum(row.useful_ns + row.wasted_ns for row in facts.tenants) == used
    assert sum(row.used_ns for row in facts.versions) == used
    assert sum(row.wasted_usd for row in facts.tenants) > 0


def test_the_buckets_of_gpu_time_add_up_to_what_was_paid(facts: Facts, served: Served) -> None:
    samples = served.rows.of("gpu_samples")
    parts = [(row.busy, row.idle, row.loading) for row in facts.gpu_time]

    assert sum(map(sum, parts)) == sum(row.paid_ns for row in samples)
    assert sum(row.unobserved for row in facts.gpu_time) > 0
    assert all(start.holds for start in facts.starts)
    assert {start.ended for start in facts.starts} == {"crashed", "running", "stopped"}


def test_targets_are_those_of_the_account(facts: Facts) -> None:
    by_class = {row.latency_class: row for row in facts.classes}

    assert (by_class["realtime"].target_ttft_ms, by_class["bulk"].target_e2e_ms) == (400, 60_000)
    assert all(0 <= row.attainment <= 1 for row in facts.classes)


def test_the_command_writes_a_page_that_needs_nothing_else(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)
    path = tmp_path / "report.html"

    assert main(["report", "--last", "30m", "--out", str(path)]) == OK

    page = path.read_text()
    assert_page_is_whole(page)
    assert_page_stands_alone(page)
    assert len(pictures(page)) > 15
    assert "✓ GPU time adds up to the nanosecond" in page


@needs_browser
@pytest.mark.parametrize("width_px", [780, 1200, 1600])
def test_nothing_is_cut_off_in_a_browser(
    served: Served, width_px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)
    path = tmp_path / "report.html"

    assert main(["report", "--last", "30m", "--out", str(path)]) == OK

    assert cut_off(path.read_text(), tmp_path, width_px=width_px) == []


def test_a_range_without_anything_is_a_page_too(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)
    path = tmp_path / "report.html"

    assert main(["report", "--from", "2020-01-01", "--to", "2020-01-02", "--out", str(path)]) == OK

    assert_page_is_whole(path.read_text())


def test_a_file_that_cannot_be_written_is_wrong_usage(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)

    assert main(["report", "--out", str(tmp_path / "nowhere" / "x.html")]) == USAGE
    assert "No such file or directory; name a file" in capsys.readouterr().err


def a_retried(served: Served) -> RequestRow:
    """The end of a request that had an attempt before it that was handed back or died with its engine."""
    early = {row.request_id for row in served.rows.attempts() if not row.final}
    return next(row for row in served.rows.finals() if row.request_id in early)


def story_of(client: Client, row: RequestRow) -> Story:
    given = {"id": row.request_id}
    attempts = asked(client, "trace_attempts", Attempt, given)
    (story,) = stories(row.request_id, attempts, asked(client, "trace_events", Event, given))
    return story


def test_a_story_has_every_attempt_and_the_end_that_readers_accept(client: Client, served: Served) -> None:
    row = a_retried(served)

    story = story_of(client, row)

    assert len(story.tracks) > 1
    assert [track.is_accepted for track in story.tracks].count(True) == 1
    assert story.final is not None and story.final.attempt == row.attempt
    assert {event.kind for event in story.events} >= {"request.admitted", "attempt.started"}


def test_of_two_ends_the_later_hop_is_accepted_and_a_row_told_twice_is_one(client: Client, served: Served) -> None:
    heir = next(row for row in served.rows.finals() if row.attempt.endswith("-heir"))

    story = story_of(client, heir)

    assert story.final is not None and story.final.attempt == heir.attempt
    assert len({track.name for track in story.tracks}) == len(story.tracks)


def test_the_trace_is_shown_as_text_as_json_and_as_a_page(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)
    request_id = a_retried(served).request_id
    path = tmp_path / "request.html"

    assert main(["trace", request_id]) == OK
    text = capsys.readouterr().out
    assert main(["trace", request_id, "--json"]) == OK
    (story,) = json.loads(capsys.readouterr().out)
    assert main(["trace", request_id, "--html", str(path)]) == OK

    assert "first token" in text and "█" in text and "✓" in text
    assert text.index("attempt 1, ") < text.index("attempt 2, ")
    assert story["request_id"] == request_id
    assert_page_is_whole(path.read_text())
    assert_page_stands_alone(path.read_text())


def test_a_request_that_nobody_knows_is_a_failure_that_says_where_to_look(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", served.url)

    assert main(["trace", "nobody"]) == FAILED
    said = capsys.readouterr().err
    assert "nothing is known of nobody" in said
    assert "millrace tail nobody" in said
