"""What the named queries say where something is missing, lost or odd. Each test tells of a model of its own."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from infra.grafana.alerts import ALERTS, Alert
from sinks.clickhouse.client import connect
from sinks.clickhouse.queries import load_queries
from tests.account_data import addressed
from tests.account_server import serving
from tests.integration.sinks.recording import a_request, an_event
from topics import names
from topics.trace_rows import EventRow, FeedbackRow, GpuRow, RequestRow, Row, StepRow

pytestmark = pytest.mark.integration

QUERIES = load_queries()
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
NOW_US = int(time.time()) * SECOND_US
OFFSETS = count(1_000_000, 10_000)
Tell = Callable[..., None]
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("edges"), requests=0) as url:
        client = connect(url, "default", "", "trace")
        yield client
        client.close()


@pytest.fixture
def tell(client: Client) -> Tell:
    def insert(table: str, rows: Sequence[Row], *, told_us: int = NOW_US) -> None:
        client.insert_arrow(table, addressed(table, list(rows), ko=next(OFFSETS), log_ms=told_us // 1000))

    return insert


@pytest.fixture
def ask(client: Client) -> Ask:
    def run(name: str, *, model: str = "", **given: str) -> list[dict[str, Any]]:
        rows = list(client.query(QUERIES[name].text, parameters=QUERIES[name].values(given)).named_results())
        return [row for row in rows if row.get("model", row.get("worker", model)) == model] if model else rows

    return run


def an_end(offset: int, *, model: str, ago_us: int = MINUTE_US, **fields: Any) -> RequestRow:
    lane = names.Lane(model, "interactive").topic
    known = {"request_id": f"{model}-{offset}", "lane_topic": lane, "deployment": f"{model}@v1", "worker": model}
    return a_request(offset, model=model, produced_ts=NOW_US - ago_us + offset, **{**known, **fields})


def an_admission(offset: int, *, model: str, ago_us: int = MINUTE_US, waited_us: int = 2000) -> EventRow:
    origin = names.origin_of(names.Lane(model, "interactive").topic, 0, offset)
    at_us = NOW_US - ago_us + offset + waited_us
    return an_event(offset, model=model, origin=origin, ts=at_us, duration_us=waited_us)


def lane_of(rows: list[dict[str, Any]], model: str) -> dict[str, Any]:
    (lane,) = [row for row in rows if row["lane_topic"] == names.Lane(model, "interactive").topic]
    return lane


# Produced and ended


def test_the_lost_end_of_a_lanes_last_request_is_seen(tell: Tell, ask: Ask) -> None:
    tell("requests", [an_end(offset, model="tail") for offset in range(8)])
    tell("events", [an_admission(offset, model="tail") for offset in range(10)])

    lane = lane_of(ask("reconcile"), "tail")
    report = lane_of(ask("report_ends", **{"from": str(NOW_US // SECOND_US - 3600), "to": "2100000000"}), "tail")

    assert (lane["produced"], lane["ended"], lane["without_end"], lane["is_even"]) == (10, 8, 2, 0)
    assert (report["produced"], report["ended"], report["final_rows"]) == (10, 8, 8)


def test_a_lane_in_which_nothing_has_ended_is_seen(tell: Tell, ask: Ask) -> None:
    tell("events", [an_admission(offset, model="stuck") for offset in range(3)])
    tell("requests", [an_end(3, model="stuck", final=0, outcome="parked")])

    lane = lane_of(ask("reconcile"), "stuck")

    assert (lane["first_offset"], lane["up_to_offset"], lane["ended"], lane["is_even"]) == (0, 4, 0, 0)


def test_a_lane_is_even_when_its_first_rows_are_too_old_to_be_kept(tell: Tell, ask: Ask) -> None:
    tell("requests", [an_end(offset, model="old") for offset in range(500, 510)])

    lane = lane_of(ask("reconcile"), "old")

    assert (lane["first_offset"], lane["produced"], lane["ended"], lane["is_even"]) == (500, 10, 10, 1)


def test_a_request_that_was_lost_where_the_range_begins_is_seen(tell: Tell, ask: Ask) -> None:
    tell("requests", [an_end(offset, model="head", ago_us=HOUR_US + 5 * MINUTE_US) for offset in range(5)])
    tell("requests", [an_end(offset, model="head") for offset in range(7, 10)])

    lane = lane_of(ask("reconcile", hours="1"), "head")

    assert (lane["first_offset"], lane["produced"], lane["ended"], lane["is_even"]) == (5, 5, 3, 0)


def test_what_was_produced_before_the_range_and_admitted_in_it_is_not_missed(tell: Tell, ask: Ask) -> None:
    before = [an_end(offset, model="late", ago_us=HOUR_US + 5 * MINUTE_US) for offset in range(5)]
    tell("requests", [*before, *(an_end(offset, model="late") for offset in range(5, 8))])
    waited = [an_admission(n, model="late", ago_us=HOUR_US + 5 * MINUTE_US, waited_us=HOUR_US) for n in range(5)]
    tell("events", waited)

    lane = lane_of(ask("reconcile", hours="1"), "late")

    assert (lane["produced"], lane["ended"], lane["is_even"]) == (3, 3, 1)


# Promises


def promise(client: Client, model: str, objective: float) -> None:
    client.command(
        "INSERT INTO slo_targets (model, latency_class, objective_ratio, ttft_ms, tpot_ms, e2e_ms) "
        f"VALUES ('{model}', 'interactive', {objective}, 400, 0, 0)"
    )


def test_the_burn_rate_of_a_tight_objective_is_not_rounded_away(client: Client, tell: Tell, ask: Ask) -> None:
    promise(client, "tight", 0.999)
    tell("requests", [an_end(n, model="tight", first_us=500_000 * (n == 0) or 1000) for n in range(3000)])

    (lane,) = ask("slo_attainment", model="tight")

    assert (lane["counted"], lane["kept_promise"]) == (3000, 2999)
    assert lane["burn_rate"] == pytest.approx(0.33, abs=0.001)


def test_a_lane_that_rests_burns_nothing_and_is_not_urgent(client: Client, tell: Tell, ask: Ask) -> None:
    promise(client, "resting", 0.9)
    tell("requests", [an_end(n, model="resting", ago_us=2 * HOUR_US, first_us=500_000) for n in range(5)])

    (lane,) = ask("slo_attainment", model="resting")

    assert (lane["burn_rate"], lane["burn_rate_1h"], lane["burn_rate_5m"], lane["is_urgent"]) == (10, None, None, 0)


# Latency


def test_answers_without_a_first_token_do_not_pull_it_down(tell: Tell, ask: Ask) -> None:
    silent = [an_end(n, model="silent", first_us=0, last_us=0) for n in range(9)]
    tell("requests", [*silent, an_end(9, model="silent", first_us=8000)])

    (minute,) = ask("latency_over_time", model="silent")

    assert (minute["requests"], minute["ttft_p50_ms"], minute["ttft_p99_ms"]) == (10, 8, 8)


def test_a_station_that_was_not_reached_has_no_part_in_how_long_the_next_took(tell: Tell, ask: Ask) -> None:
    tell("requests", [an_end(0, model="short", admitted_us=1000, first_us=0, last_us=0, finished_us=9_000_000)])

    stations = ask("latency_by_class_and_station", model="short")
    (slowest,) = ask("slowest", model="short")

    assert [(row["station"], row["step_p50_ms"]) for row in stations] == [("admitted", 1), ("finished", 8999)]
    assert (slowest["slow_before"], slowest["slow_ms"]) == ("finished", 8999)


# Money


def some_gpu_time(model: str, *, run: str = "1", first: int = 0, rows: int = 60, **last: Any) -> list[Row]:
    """Seconds of a worker of one L4, half of them busy and told at once."""
    start_us = NOW_US - 10 * MINUTE_US
    parts = {"paid_ns": 10**9, "busy_ns": 5 * 10**8, "idle_ns": 5 * 10**8, "settled_ns": 5 * 10**8}
    who = {"worker": model, "run": f"{model}-{run}", "model": model, "deployment": f"{model}@v1", "gpu": "L4"}
    told = [
        {"ts": start_us + (n + 1) * SECOND_US, "since_ts": start_us + n * SECOND_US, "gpus": 1, "state": "ready"}
        for n in range(first, first + rows)
    ]
    told[-1].update(last)
    return [GpuRow(**{**who, **parts, **times}) for times in told]  # type: ignore[arg-type]


def test_a_model_that_nobody_asked_was_paid_for(tell: Tell, ask: Ask) -> None:
    tell("gpu_samples", some_gpu_time("unasked"))

    (model,) = ask("cost_per_million_tokens", model="unasked")

    assert model["paid_usd"] == pytest.approx(60 / 3600 * 0.8, abs=1e-5)
    assert (model["completion_tokens"], model["paid_usd_per_million_out"], model["busy_usd"]) == (0, None, 0)


def test_work_that_gave_no_token_has_no_price_per_token(tell: Tell, ask: Ask) -> None:
    tell("gpu_samples", some_gpu_time("mute"))
    tell("requests", [an_end(0, model="mute", outcome="failed", tokens_out=0, gpu_ns=10**10, tenant="mute")])

    (tenant,) = [row for row in ask("cost_by_tenant") if row["tenant"] == "mute"]
    (version,) = [row for row in ask("cost_by_version") if row["deployment"] == "mute@v1"]
    (used,) = [row for row in ask("tokens_and_engine_seconds_by_tenant") if row["tenant"] == "mute"]

    cost = pytest.approx(10 / 3600 * 0.8, abs=1e-5)
    assert (tenant["busy_usd"], tenant["wasted_usd"], tenant["busy_usd_per_million_out"]) == (cost, cost, None)
    assert (version["busy_usd"], version["busy_usd_per_million_out"]) == (cost, None)
    assert used["engine_us_per_token_out"] is None


def test_gpu_time_without_a_price_is_told(tell: Tell, ask: Ask) -> None:
    tell("gpu_samples", [msgspec.structs.replace(row, gpu="H900") for row in some_gpu_time("unpriced")])

    (row,) = ask("unpriced_gpu_time")
    (unknown,) = [row for row in ask("unpriced_gpu_time", plan="barter") if row["gpu"] == "L4"]

    assert (row["gpu"], row["gpu_hours"]) == ("H900", pytest.approx(60 / 3600, abs=1e-6))
    assert row["first_hour"] <= row["last_hour"] < datetime.now(row["last_hour"].tzinfo)
    assert unknown["gpu_hours"] > 0


def steps(model: str, counts: Sequence[tuple[int, int, int, int]]) -> list[Row]:
    """Reports of steps, prompt tokens, tokens out and microseconds."""
    who = {"worker": model, "model": model, "deployment": f"{model}@v1", "gpus": 1}
    rest = {"interval_us": SECOND_US, "running_max": 8, "waiting_max": 0}
    names_ = ("steps", "prefill_tokens", "decode_tokens", "busy_us")
    return [
        StepRow(ts=NOW_US - 5 * MINUTE_US + n, **who, **rest, **dict(zip(names_, each, strict=True)))  # type: ignore[arg-type]
        for n, each in enumerate(counts)
    ]


def test_no_saving_is_made_up_where_steps_do_not_tell_what_a_prompt_token_takes(tell: Tell, ask: Ask) -> None:
    """Prompt tokens and tokens out go together: any part of the time may be theirs."""
    tell("gpu_samples", some_gpu_time("tied"))
    tell("engine_steps", steps("tied", [(10, 40 * n, 25 * n, 90_000 + 7000 * n) for n in range(1, 60)]))
    tell("requests", [an_end(0, model="tied", tokens_in=900, tokens_cached=500, gpu_ns=10**9)])

    (model,) = ask("cache_savings", model="tied")

    assert (model["cached_tokens"], model["prompt_s_saved"], model["usd_saved"]) == (500, None, None)


def test_a_batch_of_constant_size_still_tells_what_a_prompt_token_takes(tell: Tell, ask: Ask) -> None:
    """Steps and tokens out go together; the time of a prompt token is apart from both."""
    tell("gpu_samples", some_gpu_time("constant"))
    made = [(n % 7 + 3, n * 13 % 400) for n in range(60)]
    tell("engine_steps", steps("constant", [(s, p, 8 * s, 10_000 * s + 200 * p) for s, p in made]))
    tell("requests", [an_end(0, model="constant", tokens_in=900, tokens_cached=500, gpu_ns=10**9)])

    (model,) = ask("cache_savings", model="constant")

    assert model["prompt_s_saved"] == pytest.approx(500 * 200 / 1e6, rel=0.01)


def test_saved_answers_have_no_price_where_none_was_computed(tell: Tell, ask: Ask) -> None:
    tell("requests", [an_end(0, model="copied", attempt="", worker="", reason="cache")])

    (model,) = ask("cache_savings", model="copied")

    assert (model["answered_without_engine"], model["answer_s_saved"], model["usd_saved"]) == (1, None, None)


def test_savings_are_worth_what_they_would_have_cost_at_the_time(client: Client, tell: Tell, ask: Ask) -> None:
    hour = NOW_US // HOUR_US * 3600
    prices = f"('H902', 'on_demand', {hour - 86_400}, 3.6), ('H902', 'on_demand', {hour - 3600}, 36)"
    client.command(f"INSERT INTO gpu_prices (gpu, plan, valid_from, usd_per_gpu_hour) VALUES {prices}")
    client.command("SYSTEM RELOAD DICTIONARY gpu_price")
    tell("gpu_samples", [msgspec.structs.replace(row, gpu="H902") for row in some_gpu_time("cheaper")])
    tell("requests", [an_end(0, model="cheaper", gpu_ns=10**10, ago_us=3 * HOUR_US)])
    tell("requests", [an_end(1, model="cheaper", attempt="", worker="", reason="cache", ago_us=3 * HOUR_US)])

    (model,) = ask("cache_savings", model="cheaper")

    assert (model["answer_s_saved"], model["usd_saved"]) == (10, pytest.approx(10 * 3.6 / 3600))


# GPU time


def worked(model: str, *, gpu_ns: int, at_s: int) -> RequestRow:
    """An attempt that ended so many seconds after the worker began."""
    return an_end(at_s, model=model, ago_us=10 * MINUTE_US - at_s * SECOND_US, finished_us=1000, gpu_ns=gpu_ns)


def crashed(model: str) -> list[Row]:
    """A start of 60 s that ends without a word, and the next one, 5 s later."""
    return [*some_gpu_time(model), *some_gpu_time(model, run="2", first=65, rows=5)]


def test_a_crashed_start_holds_if_rows_tell_what_it_had_settled(tell: Tell, ask: Ask) -> None:
    tell("gpu_samples", crashed("fell"))
    settled = [worked("fell", gpu_ns=10**9, at_s=2 * n) for n in range(30)]
    tell("requests", [*settled, worked("fell", gpu_ns=2 * 10**9, at_s=62), worked("fell", gpu_ns=25 * 10**8, at_s=68)])

    first, second = ask("reconcile_gpu_time", model="fell")

    assert (first["ended"], first["difference_ns"], first["holds"]) == ("crashed", 0, 1)
    assert first["unobserved_ns"] == 3 * 10**9  # of the five seconds of the gap
    assert (second["ended"], second["difference_ns"], second["holds"]) == ("running", 0, 1)


def test_a_row_of_a_crashed_start_that_is_missing_is_a_difference(tell: Tell, ask: Ask) -> None:
    tell("gpu_samples", crashed("holed"))
    tell("requests", [worked("holed", gpu_ns=10**9, at_s=2 * n) for n in range(27)])

    first, second = ask("reconcile_gpu_time", model="holed")

    assert (first["difference_ns"], first["holds"]) == (3 * 10**9, 0)
    assert (second["ended"], second["difference_ns"], second["holds"]) == ("running", 25 * 10**8, 0)


def test_engine_time_that_is_attributed_twice_is_a_difference(tell: Tell, ask: Ask) -> None:
    tell("gpu_samples", crashed("twice"))
    rows = [worked("twice", gpu_ns=10**9, at_s=n) for n in range(36)]
    tell("requests", rows, told_us=NOW_US - 10 * MINUTE_US + 40 * SECOND_US)

    first, _ = ask("reconcile_gpu_time", model="twice")

    assert (first["difference_ns"], first["holds"]) == (-6 * 10**9, 0)


# Versions and quality


def judged(ids: str, scores: Sequence[tuple[float, int]], **fields: Any) -> list[Row]:
    """Scores of the requests whose ids begin so, each so many microseconds ago."""
    return [
        FeedbackRow(ts=NOW_US - ago_us, request_id=f"{ids}-{n}", signal="thumbs", score=score, **fields)
        for n, (score, ago_us) in enumerate(scores)
    ]


def alarms(client: Client, alert: Alert) -> Iterator[dict[str, Any]]:
    """The rows for which an alert rule fires."""
    above = math.inf if alert.above is None else alert.above
    return (row for row in client.query(alert.sql).named_results() if not alert.below <= row["drift"] <= above)


@pytest.mark.parametrize(
    ("model", "older", "newer", "is_alarming"),
    [
        ("collapsed", [1.0] * 12, [0.0] * 12, True),
        ("fell-a-lot", [1.0] * 20, [1.0, 0.0] * 10, True),
        ("rose", [0.0] * 12, [1.0] * 12, False),
        ("steady", [0.3] * 12, [0.3] * 12, False),
        ("wavers", [1.0, 0.0] * 10, [0.0, 1.0] * 9, False),
        ("too-few", [1.0] * 50, [0.0] * 9, False),
    ],
)
def test_a_fall_of_quality_alarms_and_nothing_else_does(
    model: str, older: list[float], newer: list[float], is_alarming: bool, client: Client, tell: Tell, ask: Ask
) -> None:
    scores = [(score, 18 * HOUR_US) for score in older] + [(score, HOUR_US) for score in newer]
    tell("requests", [an_end(n, model=model, ago_us=19 * HOUR_US) for n in range(len(scores))])
    tell("feedback", judged(model, scores))

    (row,) = [row for row in ask("quality_by_version") if row["deployment"] == f"{model}@v1"]
    of_scores, _ = ALERTS

    assert row["is_alarming"] == is_alarming
    assert any(alarm["deployment"] == row["deployment"] for alarm in alarms(client, of_scores)) == is_alarming


@pytest.mark.parametrize(
    ("model", "older", "newer", "alarming"),
    [
        ("refuses", ["fine"] * 18 + ["refused"] * 2, ["fine"] * 5 + ["refused"] * 15, {"fine", "refused"}),
        ("one-of-many", ["a", "b", "c", "d"] * 10, ["b", "c", "d"] * 13, {"a"}),
        ("begins", ["fine"] * 30, ["fine"] * 15 + ["wrong"] * 15, {"fine", "wrong"}),
        ("same", ["fine", "wrong"] * 10, ["fine", "wrong"] * 30, set()),
        ("only-one", ["fine"] * 20, ["fine"] * 20, set()),
        ("few", ["fine"] * 50, ["wrong"] * 9, set()),
        ("new", [], ["wrong"] * 20, set()),
    ],
)
def test_a_change_of_labels_alarms_and_nothing_else_does(
    model: str, older: list[str], newer: list[str], alarming: set[str], client: Client, tell: Tell, ask: Ask
) -> None:
    ended = [(label, 18 * HOUR_US) for label in older] + [(label, HOUR_US) for label in newer]
    tell("requests", [an_end(n, model=model, ago_us=19 * HOUR_US) for n in range(len(ended))])
    labels: list[Row] = [
        FeedbackRow(ts=NOW_US - ago_us, request_id=f"{model}-{n}", signal="review", label=label)
        for n, (label, ago_us) in enumerate(ended)
    ]
    tell("feedback", labels)
    _, of_labels = ALERTS

    rows = [row for row in ask("labels_by_version") if row["deployment"] == f"{model}@v1"]
    fired = [alarm for alarm in alarms(client, of_labels) if alarm["deployment"] == f"{model}@v1"]

    assert {row["label"] for row in rows} == {*older, *newer}
    assert {row["label"] for row in rows if row["is_alarming"]} == {alarm["label"] for alarm in fired} == alarming


def test_a_score_counts_for_the_request_that_it_names_and_for_none_if_there_are_several(
    client: Client, tell: Tell, ask: Ask
) -> None:
    tell("requests", [an_end(n, model="shared", tenant="one") for n in range(4)])
    same = [f"shared-{n}" for n in range(4)]
    tell("requests", [an_end(n, model="namesake", tenant="other", request_id=same[n]) for n in range(3)])
    tell("feedback", judged("shared", [(1.0, MINUTE_US)] * 4))
    tell("feedback", judged("shared", [(0.0, MINUTE_US)] * 2, tenant="other", model="namesake"))
    labels: list[Row] = [FeedbackRow(ts=NOW_US, request_id=id_, signal="said", label="fine") for id_ in same]
    tell("feedback", labels)

    told = {row["deployment"]: (row["scores"], row["mean_score"]) for row in ask("quality_by_version")}
    said = {row["deployment"]: row["labels"] for row in ask("labels_by_version") if row["signal"] == "said"}

    assert (told["shared@v1"], told["namesake@v1"]) == ((1, 1), (2, 0))
    assert said == {"shared@v1": 1}


def test_without_a_rollout_nothing_is_compared(client: Client, tell: Tell, ask: Ask) -> None:
    client.command("TRUNCATE TABLE rollout_decisions")
    tell("requests", [an_end(n, model="unrolled", deployment="", outcome="rejected") for n in range(3)])

    assert ask("canary_against_stable") == []


def a_dispatch(row: RequestRow, *, ttft_s: float = 0.1) -> EventRow:
    known = {"tenant": row.tenant, "model": row.model, "latency_class": row.latency_class}
    told = {"ts": NOW_US - MINUTE_US, "kind": "request.dispatched", "detail": f'{{"predicted_ttft_s":{ttft_s}}}'}
    origin = names.origin_of(row.lane_topic, row.lane_partition, row.lane_offset)
    return an_event(0, request_id=row.request_id, origin=origin, **known, **told)


def test_a_prediction_is_held_against_the_answer_that_readers_accepted(tell: Tell, ask: Ask) -> None:
    model = "foreseen"
    served: dict[str, Any] = {"model": model, "mode": "fresh", "batched_us": 1000, "started_us": 2000}
    plain = an_end(1, first_us=151_000, **served)
    told_twice = an_end(2, first_us=131_000, **served)
    refused_as_well = an_end(3, first_us=111_000, **served)
    refusal = an_end(3, model=model, attempt="", outcome="expired", first_us=0)
    superseded = an_end(4, first_us=999_000, **served)
    taken_over = an_end(4, first_us=999_000, **{**served, "mode": "resume", "hop": 1, "attempt": "a4b"})
    of_two = [an_end(5 + i, first_us=71_000 + 900_000 * i, request_id="one-id", **served) for i in range(2)]
    twice_dispatched = an_end(7, first_us=999_000, **served)
    tell("requests", [plain, told_twice, refused_as_well, refusal, superseded, taken_over, *of_two, twice_dispatched])
    tell("requests", [told_twice])
    dispatched = [plain, told_twice, refused_as_well, superseded, of_two[0], twice_dispatched, twice_dispatched]
    tell("events", [a_dispatch(row) for row in dispatched])
    (lane,) = ask("prediction_error", model=model)

    assert (lane["requests"], lane["predicted"]) == (4, "first token")
    assert lane["mean_error_ms"] == pytest.approx((50 + 30 + 10 - 30) / 4, abs=0.01)
