"""The named queries, asked of a generated account and compared with the same figures counted in plain Python."""

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from sinks.clickhouse.client import connect
from sinks.clickhouse.queries import Query, load_queries
from tests.account_data import Account, an_account
from tests.account_data.site import CAPACITY, OBJECTIVE, PRICES, PROMPT_TOKEN_US, TARGETS, WHOLE_BATCHES
from tests.account_server import serving
from topics.trace_rows import GpuRow, RequestRow

pytestmark = pytest.mark.integration

QUERIES = load_queries()
PRICE = {gpu: usd for gpu, plan, usd in PRICES if plan == "on_demand"}
HOUR_NS = 3.6e12
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def account() -> Account:
    return an_account(ends_us=int(time.time()) * 1_000_000)


@pytest.fixture(scope="module")
def url(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("account"), ends_us=account.ends_us) as address:
        yield address


@pytest.fixture
def ask(url: str) -> Ask:
    def run(name: str, **given: str) -> list[dict[str, Any]]:
        query = QUERIES[name]
        client = connect(url, "default", "", "trace")
        try:
            return list(client.query(query.text, parameters=query.values(given)).named_results())
        finally:
            client.close()

    return run


@pytest.fixture(scope="module")
def gpu_of(account: Account) -> dict[str, str]:
    return {row.worker: row.gpu for row in account.of("gpu_samples")}


def usd(rows: Iterable[RequestRow], gpu_of: dict[str, str]) -> float:
    return sum(row.gpu_ns / HOUR_NS * PRICE[gpu_of[row.worker]] for row in rows if row.gpu_ns)


def useful(account: Account) -> list[RequestRow]:
    """Attempts whose answer readers accepted. Everything else that used an engine is wasted."""
    return [row for row in account.finals() if row.outcome == "completed"]


def wasted_ns(account: Account) -> int:
    return sum(row.gpu_ns for row in account.attempts()) - sum(row.gpu_ns for row in useful(account))


def runs_of(account: Account) -> dict[str, list[list[GpuRow]]]:
    """Rows by worker and start, in order."""
    found: dict[str, dict[str, list[GpuRow]]] = defaultdict(lambda: defaultdict(list))
    for row in account.of("gpu_samples"):
        found[row.worker][row.run].append(row)
    return {worker: list(runs.values()) for worker, runs in found.items()}


def has_kept(row: RequestRow) -> bool:
    ttft_ms, tpot_ms, e2e_ms = TARGETS[row.latency_class]
    per_token_us = (row.answer_last_us - row.answer_first_us) / max(row.answer_tokens - 1, 1)
    return (
        row.outcome == "completed"
        and (not ttft_ms or row.answer_first_us <= ttft_ms * 1000)
        and (not tpot_ms or per_token_us <= tpot_ms * 1000)
        and (not e2e_ms or row.finished_us <= e2e_ms * 1000)
    )


@pytest.mark.parametrize("query", [q for q in QUERIES.values() if all(p.default for p in q.parameters)], ids=str)
def test_every_query_with_defaults_answers(query: Query, ask: Ask) -> None:
    """All GPUs have a price."""
    assert bool(ask(query.name)) == (query.name != "unpriced_gpu_time")


def test_paid_time_is_accounted_for_to_the_nanosecond(account: Account, ask: Ask) -> None:
    rows = ask("reconcile_gpu_time")

    attributed: Counter[str] = Counter()
    for attempt in account.attempts():
        attributed[attempt.worker] += attempt.gpu_ns
    paid: Counter[str] = Counter()
    for worker, runs in runs_of(account).items():
        paid[worker] = sum(row.paid_ns for run in runs for row in run)
        paid[worker] += sum((new[0].since_ts - old[-1].ts) * 1000 * old[0].gpus for old, new in pairwise(runs))
    told = {worker: [row for row in rows if row["worker"] == worker] for worker in paid}
    assert [row["holds"] for row in rows] == [1] * len(rows)
    assert {worker: sum(row["all_paid_ns"] for row in its) for worker, its in told.items()} == dict(paid)
    assert {worker: sum(row["attributed_ns"] for row in its) for worker, its in told.items()} == {
        worker: attributed[worker] for worker in paid
    }
    parts = ("attributed_ns", "idle_ns", "loading_ns", "in_flight_ns", "unobserved_ns")
    assert sum(row[part] for row in rows for part in parts) == sum(paid.values())


def test_orderly_runs_attribute_all_busy_time_and_crashed_ones_name_the_rest(account: Account, ask: Ask) -> None:
    rows = ask("reconcile_gpu_time")
    busy = {run[0].run: sum(row.busy_ns for row in run) for runs in runs_of(account).values() for run in runs}

    assert {row["ended"] for row in rows} == {"stopped", "crashed", "running"}
    assert [row["unobserved_ns"] for row in rows if row["ended"] != "crashed"] == [0, 0, 0, 0]
    assert all(row["unobserved_ns"] > 0 for row in rows if row["ended"] == "crashed")
    assert all(row["attributed_ns"] == busy[row["run"]] for row in rows if row["ended"] == "stopped")


def test_every_offset_of_a_lane_has_one_end(account: Account, ask: Ask) -> None:
    lanes = ask("reconcile")

    ends = Counter(row.lane_topic for row in account.finals())
    assert {lane["lane_topic"]: lane["ended"] for lane in lanes} == ends
    assert {lane["lane_topic"]: lane["produced"] for lane in lanes} == ends
    assert [lane["is_even"] for lane in lanes] == [1] * len(lanes)


def test_some_requests_have_two_ends_and_both_used_the_engine(account: Account) -> None:
    """Else the tests below could not tell whether each request is counted once."""
    ends = Counter((row.lane_topic, row.lane_offset) for row in account.attempts() if row.final and row.gpu_ns)
    accepted = {(row.lane_topic, row.lane_offset): row for row in account.finals()}

    contested = [accepted[request] for request, count in ends.items() if count > 1]
    assert Counter(row.attempt.partition("-")[2] for row in contested).keys() >= {"1", "heir", "taker"}
    assert sum(row.hop == 0 for row in contested) > 10


@pytest.mark.parametrize(("query", "by"), [("cost_by_tenant", "tenant"), ("cost_by_version", "deployment")])
def test_costs_are_of_attempts_and_tokens_of_requests(
    query: str, by: str, account: Account, ask: Ask, gpu_of: dict[str, str]
) -> None:
    told = {row[by]: row for row in ask(query)}

    for name in {getattr(row, by) for row in account.attempts()} - {""}:
        mine, answers, ends = (
            [row for row in rows if getattr(row, by) == name]
            for rows in (account.attempts(), useful(account), account.finals())
        )
        tokens = sum(row.answer_tokens for row in ends)
        cost = usd(mine, gpu_of)
        assert told[name]["answered"] == len(answers)
        assert told[name]["prompt_tokens"] == sum(row.tokens_in for row in ends)
        assert told[name]["completion_tokens"] == tokens
        assert told[name]["busy_usd"] == pytest.approx(cost, abs=1e-5)
        assert told[name]["wasted_usd"] == pytest.approx(cost - usd(answers, gpu_of), abs=1e-5)
        assert told[name]["busy_usd_per_million_out"] == pytest.approx(1e6 * cost / tokens, rel=1e-3)


def test_views_of_tenants_agree_with_each_other_and_the_report(account: Account, ask: Ask) -> None:
    begins_s, ends_s = account.begins_us // 1_000_000, account.ends_us // 1_000_000
    whole = {"from": str(begins_s), "to": str(ends_s)}
    (totals,) = ask("report_totals", **whole)
    used, top, costs, report = (
        ask("tokens_and_engine_seconds_by_tenant"),
        ask("top_tenants"),
        ask("cost_by_tenant"),
        ask("report_tenants", **whole),
    )

    finals = account.finals()
    tokens = sum(row.tokens_in for row in finals), sum(row.answer_tokens for row in finals)
    assert (totals["tokens_prompt"], totals["tokens_made"]) == tokens
    assert [sum(row[name] for row in report) for name in ("tokens_prompt", "tokens_made")] == [*tokens]
    for rows in (used, top, costs):
        assert (sum(row["prompt_tokens"] for row in rows), sum(row["completion_tokens"] for row in rows)) == tokens
    assert totals["requests"] == len(finals)
    assert [sum(row["requests"] for row in rows) for rows in (used, top, report)] == [len(finals)] * 3
    assert sum(row["wasted_ns"] for row in report) == wasted_ns(account)
    assert sum(row["useful_ns"] for row in report) == sum(row.gpu_ns for row in useful(account))
    assert sum(row["wasted_s"] for row in used) == pytest.approx(wasted_ns(account) / 1e9, abs=0.01)
    assert sum(row["engine_s"] for row in top) == pytest.approx(
        sum(row.gpu_ns for row in account.attempts()) / 1e9, abs=0.01
    )


def test_versions_of_the_report_count_attempts_and_the_requests_that_ended_there(account: Account, ask: Ask) -> None:
    whole = {"from": str(account.begins_us // 1_000_000), "to": str(account.ends_us // 1_000_000)}
    told = {row["deployment"]: row for row in ask("report_versions", **whole)}

    ends = [row for row in account.finals() if row.deployment]
    assert {name: row["attempts"] for name, row in told.items()} == Counter(
        row.deployment for row in account.attempts() if row.deployment
    )
    assert {name: row["completed"] for name, row in told.items()} == Counter(
        row.deployment for row in useful(account) if row.deployment
    )
    for name, row in told.items():
        assert row["requests"] == sum(end.deployment == name for end in ends)
        assert row["tokens_made"] == sum(end.answer_tokens for end in ends if end.deployment == name)


def test_reserved_prices_are_asked_for_by_name(account: Account, ask: Ask, gpu_of: dict[str, str]) -> None:
    reserved = {gpu: price for gpu, plan, price in PRICES if plan == "reserved"}

    told = sum(row["busy_usd"] for row in ask("cost_by_version", plan="reserved"))

    counted = sum(row.gpu_ns / HOUR_NS * reserved[gpu_of[row.worker]] for row in account.attempts() if row.gpu_ns)
    assert told == pytest.approx(counted, abs=1e-5)


def test_versions_add_up_to_the_models_busy_cost(ask: Ask) -> None:
    versions = sum(row["busy_usd"] for row in ask("cost_by_version"))

    assert versions == pytest.approx(sum(row["busy_usd"] for row in ask("cost_per_million_tokens")), abs=1e-5)


def test_a_million_tokens_cost_what_was_paid(account: Account, ask: Ask) -> None:
    told = {row["model"]: row for row in ask("cost_per_million_tokens")}

    for model in ("tiny", "large"):
        paid = sum(s.paid_ns / HOUR_NS * PRICE[s.gpu] for s in account.of("gpu_samples") if s.model == model)
        tokens = sum(row.answer_tokens for row in account.finals() if row.model == model)
        assert told[model]["paid_usd"] == pytest.approx(paid, abs=1e-5)
        assert told[model]["paid_usd_per_million_out"] == pytest.approx(1e6 * paid / tokens, rel=1e-3)


def test_idle_and_loading_time_cost_money(account: Account, ask: Ask) -> None:
    rows = ask("idle_cost")

    samples = account.of("gpu_samples")
    assert sum(row["idle_usd"] for row in rows) == pytest.approx(
        sum(s.idle_ns / HOUR_NS * PRICE[s.gpu] for s in samples), abs=1e-4
    )
    assert sum(row["loading_usd"] for row in rows) == pytest.approx(
        sum(s.loading_ns / HOUR_NS * PRICE[s.gpu] for s in samples), abs=1e-4
    )


def test_wasted_work_has_a_cause(account: Account, ask: Ask) -> None:
    told = {row["cause"]: row["wasted_s"] for row in ask("wasted_cost")}

    accepted = {(row.lane_topic, row.lane_offset, row.attempt) for row in account.finals()}
    wasted: dict[str, float] = defaultdict(float)
    for row in account.attempts():
        is_accepted = (row.lane_topic, row.lane_offset, row.attempt) in accepted
        if row.gpu_ns and not (is_accepted and row.outcome == "completed"):
            cause = row.outcome if not row.final or row.outcome != "completed" else "superseded"
            wasted[cause] += row.gpu_ns / 1e9
    unobserved = sum(row["unobserved_ns"] for row in ask("reconcile_gpu_time")) / 1e9
    assert told.pop("unobserved") == pytest.approx(unobserved, abs=1e-3)
    assert told == {cause: pytest.approx(seconds, abs=1e-3) for cause, seconds in wasted.items()}
    assert {"cancelled", "failed", "returned", "engine_dead", "superseded"} <= told.keys()
    assert sum(told.values()) == pytest.approx(wasted_ns(account) / 1e9, abs=0.01)


def test_slo_attainment_and_burn_rate(account: Account, ask: Ask) -> None:
    told = {(row["model"], row["latency_class"]): row for row in ask("slo_attainment")}
    budget = {(row["model"], row["latency_class"]): row for row in ask("error_budget")}

    counted: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in account.finals():
        if row.outcome != "cancelled":
            counted[row.model, row.latency_class].append(has_kept(row))
    assert told.keys() == budget.keys() == counted.keys()
    for lane, kept in counted.items():
        ratio = sum(kept) / len(kept)
        assert (told[lane]["counted"], told[lane]["kept_promise"]) == (len(kept), sum(kept))
        assert told[lane]["burn_rate"] == pytest.approx((1 - ratio) / (1 - OBJECTIVE), abs=0.02)
        assert budget[lane]["missed"] == len(kept) - sum(kept)


def test_what_was_not_completed_has_a_reason(account: Account, ask: Ask) -> None:
    told = Counter[tuple[str, str]]()
    for row in ask("rejected_by_reason"):
        told[row["outcome"], row["reason"]] += row["requests"]

    assert told == Counter((r.outcome, r.reason) for r in account.finals() if r.outcome != "completed")


def test_predictions_are_compared_with_what_came_after_the_decision(account: Account, ask: Ask) -> None:
    told = {(row["model"], row["latency_class"]): row for row in ask("prediction_error")}

    predictions: dict[str, list[float]] = defaultdict(list)
    for event in account.of("events"):
        if event.kind == "request.dispatched":
            predictions[event.request_id].append(1000 * sum(json.loads(event.detail).values()))
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in account.finals():
        if row.outcome == "completed" and row.mode == "fresh" and row.batched_us:
            (predicted_ms,) = predictions[row.request_id]
            errors[row.model, row.latency_class].append((row.first_us - row.batched_us) / 1000 - predicted_ms)
    assert {lane: its["requests"] for lane, its in told.items()} == {lane: len(its) for lane, its in errors.items()}
    for lane, its in told.items():
        assert its["mean_error_ms"] == pytest.approx(sum(errors[lane]) / len(errors[lane]), abs=0.02)
        assert its["predicted"] == ("batch" if lane[0] in WHOLE_BATCHES else "first token")
        assert 0 < its["relative_error_mean"] < 0.5


def test_cached_answers_and_prompts_are_counted(account: Account, ask: Ask) -> None:
    told = {row["model"]: row for row in ask("cache_savings")}

    finals = account.finals()
    for model in ("tiny", "large"):
        mine = [row for row in finals if row.model == model]
        without = [r for r in mine if r.outcome == "completed" and (not r.attempt or r.reason == "coalesced")]
        assert told[model]["answered_without_engine"] == len(without)
        assert told[model]["cached_tokens"] == sum(row.tokens_cached for row in mine if row.gpu_ns)


def test_savings_are_what_the_engines_would_have_taken(account: Account, ask: Ask, gpu_of: dict[str, str]) -> None:
    told = {row["model"]: row for row in ask("cache_savings")}

    gpus = {row.worker: row.gpus for row in account.of("gpu_samples")}
    for model in ("tiny", "large"):
        mine = [row for row in account.finals() if row.model == model]
        cached = [
            (row, row.tokens_cached * PROMPT_TOKEN_US[gpu_of[row.worker]] * gpus[row.worker])
            for row in mine
            if row.gpu_ns
        ]
        computed = [row for row in mine if row.outcome == "completed" and row.gpu_ns]
        without = sum(row.outcome == "completed" and (not row.attempt or row.reason == "coalesced") for row in mine)
        answers_s = without * sum(row.gpu_ns for row in computed) / len(computed) / 1e9
        saved_usd = sum(us * 1000 / HOUR_NS * PRICE[gpu_of[row.worker]] for row, us in cached)
        saved_usd += without * usd(computed, gpu_of) / len(computed)
        assert told[model]["prompt_s_saved"] == pytest.approx(sum(us for _, us in cached) / 1e6, rel=0.01)
        assert told[model]["answer_s_saved"] == pytest.approx(answers_s, rel=1e-3)
        assert told[model]["usd_saved"] == pytest.approx(saved_usd, rel=0.01)


def test_quality_is_told_by_version(account: Account, ask: Ask) -> None:
    told = {row["deployment"]: row for row in ask("quality_by_version")}

    deployment = {row.request_id: row.deployment for row in account.finals()}
    scores: dict[str, list[float]] = defaultdict(list)
    for feedback in account.of("feedback"):
        if not math.isnan(feedback.score):
            scores[deployment[feedback.request_id]].append(feedback.score)
    assert {name: row["scores"] for name, row in told.items()} == {name: len(its) for name, its in scores.items()}
    assert told["tiny@v2"]["mean_score"] == pytest.approx(sum(scores["tiny@v2"]) / len(scores["tiny@v2"]), abs=1e-4)


def test_labels_are_told_by_version(account: Account, ask: Ask) -> None:
    rows = ask("labels_by_version")

    deployment = {row.request_id: row.deployment for row in account.finals()}
    labels = Counter((deployment[f.request_id], f.label) for f in account.of("feedback") if f.label)
    assert {(row["deployment"], row["label"]): row["labels"] for row in rows} == labels
    for version in {row["deployment"] for row in rows}:
        assert sum(row["share"] for row in rows if row["deployment"] == version) == pytest.approx(1, abs=1e-3)


def test_nothing_is_compared_with_no_version(ask: Ask) -> None:
    assert ask("canary_against_stable", stable="", canary="") == []
    assert ask("canary_against_stable", stable="tiny@v1", canary="") == []


def test_stations_are_told_by_model_from_the_last_one_reached(account: Account, ask: Ask) -> None:
    told = {(row["model"], row["latency_class"], row["station"]): row for row in ask("latency_by_class_and_station")}

    names = ("admitted", "batched", "dispatched", "started", "first token", "last token", "finished")
    steps: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in useful(account):
        times = (
            *(row.admitted_us, row.batched_us, row.dispatched_us, row.started_us),
            *(row.first_us, row.last_us, row.finished_us),
        )
        reached = [(name, at_us) for name, at_us in zip(names, times, strict=True) if at_us]
        for (_, before_us), (name, at_us) in pairwise([("", 0), *reached]):
            steps[row.model, row.latency_class, name].append((at_us - before_us) / 1000)
    assert {key: row["requests"] for key, row in told.items()} == {key: len(its) for key, its in steps.items()}
    assert {key: row["step_p50_ms"] for key, row in told.items()} == {
        key: pytest.approx(median(its), rel=0.05, abs=0.2) for key, its in steps.items()
    }


def test_the_newest_rollout_is_compared(account: Account, ask: Ask) -> None:
    rows = ask("canary_against_stable")

    finals = account.finals()
    assert sum(row["stable_requests"] for row in rows) == sum(row.deployment == "tiny@v1" for row in finals)
    assert sum(row["canary_requests"] for row in rows) == sum(row.deployment == "tiny@v2" for row in finals)


def test_batches_and_queues(account: Account, ask: Ask) -> None:
    batches, queues = ask("batch_distribution"), ask("queue_depth")

    assert sum(row["requests"] for row in batches) == sum(row.size for row in account.of("batches"))
    assert max(row["size_up_to"] for row in batches) <= CAPACITY
    admitted = [event for event in account.of("events") if event.kind == "request.admitted"]
    assert sum(row["arrivals"] for row in queues) == len(admitted)
    assert max(row["largest_depth"] for row in queues) == max(event.queue_depth for event in admitted)


def test_shares_of_time_add_up(account: Account, ask: Ask) -> None:
    for row in ask("where_time_goes"):
        assert sum(value for name, value in row.items() if name.endswith("_pct")) == pytest.approx(100, abs=0.5)


def test_one_request_has_its_story(account: Account, ask: Ask) -> None:
    request = next(row.request_id for row in account.attempts() if row.outcome == "engine_dead")

    story = [row["kind"] for row in ask("one_request", id=request)]

    assert story.count("attempt.started") >= 2
    assert story[0] == "request.admitted"


def test_spans_have_the_columns_that_trace_viewers_want(url: str) -> None:
    client = connect(url, "default", "", "trace")
    try:
        spans = list(
            client.query("SELECT * FROM otel_traces WHERE SpanAttributes['millrace.request.id'] = 'r1'").named_results()
        )
    finally:
        client.close()

    assert {"Timestamp", "TraceId", "SpanId", "ParentSpanId", "SpanName", "Duration", "StatusCode"} <= spans[0].keys()
    assert len([span for span in spans if not span["ParentSpanId"]]) == 1
    assert {span["ParentSpanId"] for span in spans} - {""} <= {span["SpanId"] for span in spans}
