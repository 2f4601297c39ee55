"""A request's rows as sentences: why, with the numbers, and what was predicted against what happened."""

import json
from typing import Any

import pytest

from pipeline.explain import phrases
from pipeline.explain.facts import Happening, Mate, Meanwhile, Rows, Story
from pipeline.explain.sentences import stories
from pipeline.report.story import Attempt
from processors.batching.deferrals import NO_WORKER

PRODUCED_US = 1_800_000_000_000_000
LANE = "inference.requests.m.interactive"
ORIGIN = f"{LANE}/0/7"


def happening(kind: str, after_ms: float, *, figures: dict[str, float] | None = None, **fields: Any) -> Happening:
    defaults: dict[str, Any] = {
        "component": "processor",
        "process": "p",
        "origin": ORIGIN,
        "attempt": "",
        "tenant": "acme",
        "latency_class": "interactive",
        "model": "m",
        "worker": "",
        "batch_id": "",
        "batch_size": 0,
        "tokens_in": 0,
        "tokens_out": 0,
        "queue_depth": 0,
        "running": 0,
        "outcome": "",
        "error_code": "",
        "reason": "",
        "detail": json.dumps(figures) if figures else "",
    }
    return Happening(at_us=PRODUCED_US + round(after_ms * 1000), kind=kind, **{**defaults, **fields})


def admitted(after_ms: float = 2, **fields: Any) -> Happening:
    return happening("request.admitted", after_ms, **{"tokens_in": 31, "queue_depth": 1, **fields})


def dispatched(after_ms: float = 10, **fields: Any) -> Happening:
    return happening("request.dispatched", after_ms, **{"worker": "w1", "batch_id": "b1", "batch_size": 1, **fields})


def started(after_ms: float = 12, attempt: str = "k1", **fields: Any) -> Happening:
    return happening("attempt.started", after_ms, **{"attempt": attempt, "worker": "w1", "reason": "fresh", **fields})


def finished(after_ms: float = 900, attempt: str = "k1", outcome: str = "completed", **fields: Any) -> Happening:
    return happening("request.finished", after_ms, attempt=attempt, worker="w1", outcome=outcome, **fields)


def a_row(attempt: str = "k1", **fields: Any) -> Attempt:
    defaults: dict[str, Any] = {
        "lane_topic": LANE,
        "lane_partition": 0,
        "lane_offset": 7,
        "tenant": "acme",
        "model": "m",
        "latency_class": "interactive",
        "produced_us": PRODUCED_US,
        "hop": 0,
        "mode": "fresh",
        "deployment": "m@v1",
        "worker": "w1",
        "batch_id": "b1",
        "batch_size": 1,
        "admitted_us": 2_000,
        "batched_us": 10_000,
        "dispatched_us": 10_000,
        "started_us": 12_000,
        "first_us": 110_000,
        "last_us": 860_000,
        "finished_us": 900_000,
        "deadline_us": 60_000_000,
        "tokens_in": 30,
        "tokens_cached": 0,
        "tokens_out": 16,
        "outcome": "completed",
        "finish_reason": "stop",
        "error_code": "",
        "reason": "",
        "gpu_ns": 1,
        "is_accepted": True,
    }
    return Attempt(attempt=attempt, **{**defaults, **fields})


def story(*happenings: Happening, rows: list[Attempt] | None = None, **others: Any) -> Story:
    attempts = [a_row()] if rows is None else rows
    (found,) = stories("order-42", Rows(attempts=attempts, happenings=list(happenings), **others))
    return found


def texts(found: Story) -> list[str]:
    return [sentence.text for sentence in found.sentences]


def the(found: Story, kind: str) -> str:
    (sentence,) = [sentence for sentence in found.sentences if sentence.kind == kind]
    return sentence.text


def test_an_ordinary_request_is_told_in_order_with_its_numbers() -> None:
    found = story(
        admitted(),
        dispatched(reason="only_credit", running=3, figures={"predicted_ttft_s": 0.08, "slack_s": 0.99}),
        started(),
        finished(),
    )
    assert texts(found) == [
        f"It was produced to {ORIGIN}.",
        "It was admitted with about 31 prompt tokens, alone in its lane.",
        "It was dispatched to w1, which ran 3 then, because it was the only worker with credit (slack 990 ms). "
        "The first token was predicted 80 ms later.",
        "w1 began it from the beginning (attempt k1).",
        "The first token came 100 ms after the dispatch, 25% later than the 80 ms that were predicted.",
        "It completed (stop) after 16 tokens at 20 tokens/s, for 30 prompt tokens, "
        "900 ms after it was produced and 59.10 s before its deadline.",
    ]
    assert [sentence.after_ms for sentence in found.sentences] == [0.0, 2.0, 10.0, 12.0, 110.0, 900.0]
    assert (found.outcome, found.attempts) == ("completed", 1)


def test_batch_mates_are_named() -> None:
    mates = [Mate(batch_id="b1", request_id=f"r{n}", tenant="t") for n in range(9)]
    mates += [
        Mate(batch_id="b1", request_id="order-42", tenant="t"),
        Mate(batch_id="b2", request_id="other", tenant="t"),
    ]
    found = story(admitted(), dispatched(batch_size=10), started(), finished(), mates=mates)
    assert the(found, "request.dispatched").endswith("It went in a batch of 10: r0, r1, r2, r3, r4 and 4 more.")


def test_a_batch_that_ran_whole_is_compared_with_its_prediction() -> None:
    row = a_row(first_us=250_000, last_us=250_000, finished_us=251_000)
    figures = {"service_s": 0.2, "starts_in_s": 0.1}
    found = story(admitted(), dispatched(figures=figures), started(), finished(251), rows=[row])
    assert "The end of its batch was predicted 300 ms later." in the(found, "request.dispatched")
    assert the(found, "request.finished").endswith(
        "All of it came at once 240 ms after the dispatch, 20% sooner than the 300 ms that were predicted."
    )
    assert [sentence for sentence in found.sentences if sentence.kind == "first_token"] == []


def test_why_it_waited_is_told_once_for_each_reason() -> None:
    def deferral(after_ms: float, reason: str) -> Meanwhile:
        at_us = PRODUCED_US + round(after_ms * 1000)
        detail = '{"until_in_s": 0.004}'
        return Meanwhile(
            at_us=at_us, kind="lane.deferred", latency_class="", queue_depth=3, reason=reason, detail=detail
        )

    meanwhile = [deferral(1, "kv"), deferral(3, "larger_batch"), deferral(5, "larger_batch"), deferral(20, "kv")]
    found = story(admitted(), dispatched(), started(), finished(), meanwhile=meanwhile)
    assert the(found, "lane.deferred") == (
        "It was left waiting (2 times), because a larger batch was worth waiting for and still met every target "
        "(until in 4.0 ms)."
    )


def test_a_full_lane_is_told_of_its_own_class_only() -> None:
    pauses = [
        Meanwhile(
            at_us=PRODUCED_US + 4000, kind="lane.paused", latency_class=name, queue_depth=2000, reason="", detail=""
        )
        for name in ("interactive", "bulk")
    ]
    found = story(admitted(), dispatched(), started(), finished(), meanwhile=pauses)
    assert the(found, "lane.paused") == "Its lane was full with 2,000 requests: later ones waited in Kafka."


def test_a_rejection_has_its_numbers_and_the_way_out() -> None:
    row = a_row("", outcome="rejected", started_us=0, first_us=0, last_us=0, tokens_out=0, finished_us=2000)
    refused = happening(
        "request.rejected",
        2,
        outcome="rejected",
        error_code="deadline_unmeetable",
        reason="predicted_late",
        figures={
            "predicted_wait_s": 1.5,
            "predicted_ttft_s": 0.4,
            "slack_s": 2.0,
            "margin_s": 0.2,
            "queue_ahead_requests": 212,
        },
    )
    found = story(refused, rows=[row])
    assert the(found, "request.rejected") == (
        "It was rejected before it was queued, because the prediction said that its target could not be met "
        "(wait predicted 1.50 s, first token predicted in 400 ms, slack 2.00 s, kept free of the target 200 ms, "
        "queue ahead 212 requests). "
        "Send it again later (in 1.50 s), with a longer deadline_ms, or add workers."
    )
    assert found.outcome == "rejected"


def test_every_reason_to_wait_has_words() -> None:
    reasons = {"larger_batch", "credit", "concurrency", "kv", "prompt_budget", "workers_busy", NO_WORKER}
    assert reasons == set(phrases.DEFERRALS)


def test_a_quota_says_when_to_come_again() -> None:
    refused = happening(
        "request.rejected",
        2,
        outcome="rejected",
        error_code="rate_limited",
        reason="quota_requests_per_s",
        figures={"limit": 2, "retry_after_s": 0.4},
    )
    text = the(story(refused, rows=[a_row("", outcome="rejected", finished_us=2000)]), "request.rejected")
    assert "its tenant was over its quota of requests per second (limit 2)" in text
    assert text.endswith("Send it again later (in 400 ms), or raise the tenant's quota.")


def test_a_request_that_is_wrong_is_sent_to_its_error_record() -> None:
    refused = happening("request.rejected", 2, outcome="rejected", error_code="invalid_request")
    text = the(story(refused, rows=[a_row("", outcome="rejected", finished_us=2000)]), "request.rejected")
    assert text == (
        "It was rejected before it was queued, because a field of it is missing or wrong. "
        "Its error record names the field and the limit: `millrace tail order-42`."
    )


def test_one_that_expired_in_its_lane_says_what_would_have_helped() -> None:
    expired = happening("request.expired", 5000, outcome="expired", error_code="deadline_exceeded")
    text = the(story(admitted(), expired, rows=[a_row("", outcome="expired")]), "request.expired")
    assert text == (
        "It was dropped as expired while it waited for a worker, because its deadline had passed. "
        "Send it with a longer deadline_ms, in a less urgent class, or add workers."
    )


def test_a_cancellation_needs_no_way_out() -> None:
    row = a_row(outcome="cancelled", finish_reason="", error_code="cancelled", tokens_out=5)
    found = story(
        admitted(), dispatched(), started(), finished(outcome="cancelled", error_code="cancelled"), rows=[row]
    )
    assert the(found, "request.finished").startswith(
        "It ended cancelled, because its sender asked for it after 5 token"
    )
    assert the(found, "request.finished").endswith("prompt tokens.")


def test_a_take_over_tells_of_the_attempt_that_fell_silent() -> None:
    row = a_row("k2", worker="w2", started_us=6_000_000, first_us=6_050_000, last_us=6_800_000, finished_us=6_900_000)
    again = started(6000, "k2", worker="w2", reason="restart")
    found = story(admitted(), dispatched(), started(), again, finished(6900, "k2"), rows=[row])
    assert "w1 began it from the beginning (attempt k1)." in texts(found)
    assert (
        "w2 took it over and began from the beginning again; readers void what the attempt before had said "
        "(attempt k2). Nothing more was heard of attempt k1: its worker had died or lost its slot." in texts(found)
    )
    assert found.attempts == 2


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"tokens_out": 16}, "after 16 tokens at 20 tokens/s that followed 1 token of attempts before, for 30 "),
        ({"tokens_out": 0, "first_us": 0, "last_us": 0}, "after 1 token of attempts before, "),
    ],
)
def test_the_end_of_a_continued_answer_counts_the_tokens_before(made: dict[str, Any], words: str) -> None:
    found = story(finished(), rows=[a_row(mode="resume", continued=1, **made)])
    assert words in the(found, "request.finished")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("returned", "was stopped and handed back, to go on elsewhere"),
        ("engine_dead", "ended with its engine, which died"),
        ("lost", "because its slot belonged to another worker by then"),
        ("superseded", "had nothing to do"),
    ],
)
def test_an_attempt_without_an_end_of_the_request_says_what_became_of_it(outcome: str, words: str) -> None:
    rows = [a_row("k1", outcome=outcome, is_accepted=False, finished_us=500_000), a_row("k2", started_us=600_000)]
    again = dispatched(550, batch_id="b2", worker="w2")
    found = story(
        admitted(), dispatched(), started(), again, started(600, "k2", worker="w2"), finished(900, "k2"), rows=rows
    )
    assert words in the(found, f"attempt.{outcome}")
    assert any(text.startswith("It was dispatched again to w2") for text in texts(found))
    assert not any("Nothing more was heard" in text for text in texts(found))


def test_one_that_has_not_ended_says_where_it_is() -> None:
    assert texts(story(admitted(), rows=[]))[-1] == (
        "It has not ended as far as the account knows: it waits in its lane, or what followed is not recorded yet."
    )
    assert "is at its worker" in texts(story(admitted(), dispatched(), started(), rows=[]))[-1]


def test_events_and_labels_that_are_not_known_are_told_as_they_are() -> None:
    odd = happening("request.coalesced", 3, reason="coalesced", detail="inference.requests.m.bulk/0/1")
    routed = dispatched(reason="sticky_session", figures={"affinity_ratio": 0.25, "odd": 3})
    found = story(admitted(), odd, routed, started(), finished())
    assert the(found, "request.coalesced") == "It was coalesced (inference.requests.m.bulk/0/1)."
    assert "because sticky session (affinity 25%, odd 3)." in the(found, "request.dispatched")


def test_an_id_that_was_used_again_has_two_stories() -> None:
    later = a_row("k9", lane_offset=9, produced_us=PRODUCED_US + 5_000_000)
    second = happening("request.admitted", 5002, origin=f"{LANE}/0/9")
    found = stories("order-42", Rows(attempts=[later, a_row()], happenings=[admitted(), second]))
    assert [story.origin for story in found] == [ORIGIN, f"{LANE}/0/9"]
    assert [len(story.sentences) > 1 for story in found] == [True, True]


def test_nothing_known_is_no_story() -> None:
    assert stories("nobody", Rows(attempts=[], happenings=[])) == []
