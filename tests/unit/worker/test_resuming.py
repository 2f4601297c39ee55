"""Requests that are taken over: what the log says about them, and what the worker's core makes of it."""

from typing import Any

import pytest

from pipeline.engines.protocol import Output
from pipeline.worker.effects import Abort, Acknowledge, AddRow, Effect, Follow, Send, Submit, Unfollow
from pipeline.worker.resuming import Fate, Resume
from pipeline.worker.watching import Gap
from tests.unit.worker.builders import a_body, a_dispatch, a_usage
from tests.unit.worker.test_core import LOG_MS, NOW_US, SECOND_US, Bench, an_end, answers, kinds, of
from topics import names
from topics.codec import decode_response, decode_return
from topics.dispatches import Cancel, Told
from topics.errors import Cancelled
from topics.responses import (
    CancelledRequest,
    Completed,
    Delta,
    Expired,
    Mode,
    Progress,
    Rejected,
    Response,
    Started,
    Usage,
)
from topics.trace_rows import EventRow, RequestRow

ORIGIN = "inference.requests.m.interactive/0/7"
SLOT = "inference.dispatch.m.v1/0/1"


def started(attempt: str, mode: Mode = "fresh", *, hop: int = 0, dispatch: str = SLOT, term: int = 0) -> Started:
    return Started(
        id="order-42",
        origin=ORIGIN,
        attempt=attempt,
        mode=mode,
        hop=hop,
        dispatch=dispatch,
        term=term,
        deployment="m@v1",
    )


def delta(attempt: str, seq: int, *token_ids: int) -> Delta:
    return Delta(id="order-42", origin=ORIGIN, attempt=attempt, seq=seq, text="x", token_ids=list(token_ids))


def progress(attempt: str, seq: int, *token_ids: int) -> Progress:
    return Progress(id="order-42", origin=ORIGIN, attempt=attempt, seq=seq, token_ids=list(token_ids))


def completed(attempt: str | None, next_seq: int, *, usage: Usage | None = None) -> Completed:
    return Completed(
        id="order-42",
        origin=ORIGIN,
        attempt=attempt,
        next_seq=next_seq,
        usage=usage or a_usage(3, next_seq),
        timing_ms={"started": 2.0, "first": 3.5, "last": 5.0, "finished": 6.125},
        finish_reason="stop",
    )


OWN = started("own", "resume", term=5)


def verdict(*records: Response | Gap) -> tuple[Fate | None, list[int]]:
    resume = Resume("own")
    fates = [fate for record in records if (fate := resume.feed(record)) is not None]
    assert len(fates) < 2
    return (fates[0] if fates else None), resume.tokens


@pytest.mark.parametrize(
    ("records", "fate", "tokens"),
    [
        ((started("a"), delta("a", 0, 7, 8)), None, [7, 8]),
        ((started("a"), delta("a", 0, 7, 8), OWN), Fate.GOES_ON, [7, 8]),
        ((started("a"), progress("a", 0, 7), delta("a", 0, 9), OWN), Fate.GOES_ON, [7]),
        ((started("a"), delta("a", 0, 7), progress("a", 3), OWN), Fate.GOES_ON, [7]),
        ((OWN,), Fate.GOES_ON, []),
        ((started("a"), delta("a", 0, 7), started("b", "restart"), delta("b", 0, 9), OWN), Fate.GOES_ON, [9]),
        ((started("a"), delta("a", 0, 7), started("own", "restart", term=5)), Fate.GOES_ON, []),
        ((started("a"), delta("a", 0, 7), completed("a", 1)), Fate.ENDED, [7]),
        ((started("a"), completed("a", 3), OWN), Fate.GOES_ON, []),
        ((started("a"), started("b", "resume", hop=1), OWN), Fate.SUPERSEDED, []),
        ((started("a", dispatch="inference.dispatch.m.v1/1/4"), OWN), Fate.SUPERSEDED, []),
        ((started("a"), started("zombie", "resume", term=9), OWN), Fate.SUPERSEDED, []),
    ],
)
def test_the_log_up_to_the_own_record_decides(records: tuple[Response, ...], fate: Fate, tokens: list[int]) -> None:
    assert verdict(*records) == (fate, tokens)


@pytest.mark.parametrize(
    ("records", "fate"),
    [
        ((Gap.CUT, started("a"), delta("a", 0, 7), OWN), Fate.IS_CUT),
        ((Gap.CUT, started("a"), completed("a", 0), OWN), Fate.IS_CUT),
        ((Gap.CUT, started("a", dispatch="inference.dispatch.m.v1/1/4"), OWN), Fate.IS_CUT),
        ((Gap.CUT, OWN), Fate.IS_CUT),
        ((Gap.CUT, started("b", "resume", hop=1), delta("b", 0, 7), started("own", "resume", hop=2)), Fate.IS_CUT),
        ((delta("a", 4, 7), OWN), Fate.IS_CUT),
        ((started("b", "resume"), delta("b", 4, 7), OWN), Fate.IS_CUT),
        ((delta("a", 4, 7), started("b", "resume"), started("c", "restart"), OWN), Fate.IS_CUT),
        ((Gap.CUT, started("own", "restart", term=5)), Fate.GOES_ON),
    ],
)
def test_an_answer_whose_beginning_is_gone_starts_over(records: tuple[Response | Gap, ...], fate: Fate) -> None:
    assert verdict(*records)[0] is fate


def test_who_ended_it_is_known_as_far_as_the_log_tells() -> None:
    resume = Resume("own")
    for record in (started("a"), delta("a", 0, 7), started("b", "resume"), delta("b", 1, 8, 9), completed("b", 3)):
        resume.feed(record)
    ended = resume.ended
    assert ended is not None
    assert (ended.started.attempt, ended.tokens, ended.chunks) == ("b", 2, 1)


class TakeOver:
    """A bench whose only job was begun by another worker."""

    def __init__(self, *before: Response, stream: bool = True, attempts: str = "a", **body: Any) -> None:
        self.bench = Bench(attempts=attempts)
        effects = self.bench.take(a_dispatch(body=a_body(stream=stream, **body), hop=1, first_dispatched_at_ms=70_000))
        self.before = before
        self.follows = of(effects, Follow)
        assert not of(effects, Submit)

    def read(self) -> list[Effect]:
        return self.bench.read_log(*self.before)

    @property
    def sent(self) -> list[Response]:
        return [decode_response(send.value) for send in of(self.bench.effects, Send) if send.topic == names.RESPONSES]


def test_a_hop_waits_for_its_own_record_in_the_log_from_the_first_dispatch_on() -> None:
    take_over = TakeOver()
    (follow,) = take_over.follows
    (begun,) = take_over.sent
    assert isinstance(begun, Started)
    assert (begun.mode, begun.hop, follow.request.origin, follow.request.since_ms) == ("resume", 1, ORIGIN, 70_000)


def test_a_dispatch_older_than_the_own_marker_is_read_from_itself_on() -> None:
    bench = Bench()
    bench.slot.term = 5
    (follow,) = of(bench.take(a_dispatch(), now_us=90 * SECOND_US), Follow)
    assert follow.request.since_ms == 90_000


def test_the_stream_goes_on_after_the_accepted_tokens() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8))
    effects = take_over.read()
    (submit,) = of(effects, Submit)
    assert (submit.request.key, submit.request.continued, submit.request.repeats_text) == ("a1", (7, 8), False)
    assert of(effects, Unfollow)
    take_over.bench.outputs(Output(key="a1", text="y", token_ids=[9]))
    usage = a_usage(3, 4)
    take_over.bench.outputs(Output(key="a1", text="z", token_ids=[10], finish_reason="stop", usage=usage))
    _, third, fourth, end = take_over.sent
    assert isinstance(third, Delta) and isinstance(fourth, Delta) and isinstance(end, Completed)
    assert (third.seq, fourth.seq, end.next_seq, end.usage) == (2, 3, 4, usage)


def test_the_account_counts_what_each_attempt_generated() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8))
    take_over.read()
    take_over.bench.outputs(an_end("a1"))
    take_over.bench.keep(take_over.bench.core.on_delivered(["a1"], NOW_US))
    (row,) = take_over.bench.rows()
    assert (row.final, row.hop, row.mode, row.tokens_out) == (1, 1, "resume", 1)
    (finished,) = take_over.bench.core.take_finished()
    assert (finished.completion_tokens, finished.prompt_tokens) == (1, 3 + 2)


def test_the_row_of_a_continued_answer_says_what_was_told_before_and_when() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8), delta("a", 2, 9))
    take_over.read()
    take_over.bench.outputs(an_end("a1"))
    take_over.bench.keep(take_over.bench.core.on_delivered(["a1"], NOW_US))
    (row,) = take_over.bench.rows()
    after_us = LOG_MS * 1000 - row.produced_ts
    assert (row.continued, row.continued_first_us, row.continued_last_us) == (3, after_us, after_us)
    assert (row.answer_tokens, row.answer_first_us, row.answer_last_us) == (4, after_us, row.last_us)
    assert row.answer_first_us < row.started_us < row.first_us


def test_tokens_that_are_void_are_told_by_no_row() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8), presence_penalty=1)
    take_over.read()
    take_over.bench.outputs(an_end("a1"))
    take_over.bench.keep(take_over.bench.core.on_delivered(["a1"], NOW_US))
    (row,) = take_over.bench.rows()
    assert (row.continued, row.answer_tokens, row.answer_first_us) == (0, 1, row.first_us)


def test_a_cancelled_take_over_counts_the_tokens_before_it() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8))
    take_over.bench.take(Cancel(id="order-42", tenant="acme"))
    take_over.read()
    take_over.bench.keep(take_over.bench.core.on_delivered(["a1"], NOW_US))
    (row,) = take_over.bench.rows()
    assert (row.outcome, row.tokens_out, row.answer_tokens) == ("cancelled", 0, 2)
    assert 0 < row.answer_first_us == row.answer_last_us


@pytest.mark.parametrize(
    ("hop_of_first", "first_at_us"), [(0, 1_200_000), (1, LOG_MS * 1000)], ids=["told by that hop", "void since"]
)
def test_the_hop_before_knows_best_when_the_first_token_was_made(hop_of_first: int, first_at_us: int) -> None:
    before = Told(tokens=32, first_at_us=1_200_000, last_at_us=1_450_000)
    resume = Resume("own", hop=1, before=before)
    records = (started("a"), progress("a", 0, 6), started("b", "restart", hop=hop_of_first), progress("b", 0, 7, 8))
    for record in records:
        resume.feed(record, LOG_MS)
    assert resume.told == Told(tokens=2, first_at_us=first_at_us, last_at_us=LOG_MS * 1000)


def test_without_streaming_the_body_has_the_text_of_all_attempts() -> None:
    take_over = TakeOver(started("a"), progress("a", 0, *range(32)), stream=False)
    (submit,) = of(take_over.read(), Submit)
    assert submit.request.repeats_text
    take_over.bench.outputs(Output(key="a1", text="all before", token_ids=[40]))
    take_over.bench.outputs(Output(key="a1", text=" and after", token_ids=[41], finish_reason="stop", usage=a_usage()))
    *_, end = take_over.sent
    assert isinstance(end, Completed)
    assert end.body["choices"][0]["message"]["content"] == "all before and after"
    assert end.next_seq == 32


def test_progress_counts_on_after_the_accepted_tokens() -> None:
    take_over = TakeOver(started("a"), progress("a", 0, *range(32)), stream=False)
    take_over.read()
    take_over.bench.outputs(Output(key="a1", text="x", token_ids=list(range(32))))
    *_, record = take_over.sent
    assert isinstance(record, Progress)
    assert (record.seq, len(record.token_ids)) == (32, 32)


def test_what_an_engine_cannot_continue_starts_over_and_is_run_only_if_it_counts() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8), presence_penalty=1)
    (begun,) = take_over.sent
    assert isinstance(begun, Started) and begun.mode == "restart"
    (submit,) = of(take_over.read(), Submit)
    assert submit.request.continued == ()
    take_over.bench.outputs(Output(key="a1", text="y", token_ids=[9]))
    *_, first = take_over.sent
    assert isinstance(first, Delta) and first.seq == 0


def test_a_request_whose_answer_is_gone_in_part_starts_over_with_a_new_attempt() -> None:
    take_over = TakeOver()
    (follow,) = take_over.follows
    take_over.bench.keep(take_over.bench.core.on_log([(follow.serial, Gap.CUT, 0)], NOW_US))
    (submit,) = of(take_over.read(), Submit)
    assert [(r.mode, r.attempt) for r in take_over.sent if isinstance(r, Started)] == [
        ("resume", "a1"),
        ("restart", "a2"),
    ]
    assert submit.request.key == "a2"
    assert [(row.outcome, row.final) for row in take_over.bench.rows()] == [("voided", 0)]


def test_a_request_that_another_hop_answers_is_acknowledged_and_left_to_it() -> None:
    take_over = TakeOver(started("a"), started("b", "resume", hop=2))
    effects = take_over.read()
    assert not of(effects, Submit) and not answers(effects)
    assert of(effects, Acknowledge) == [Acknowledge(take_over.bench.slot, 1)]
    assert [(row.outcome, row.final) for row in take_over.bench.rows()] == [("superseded", 0)]
    assert len(take_over.bench.core.jobs) == 0 and take_over.bench.core.take_finished() == []


def test_the_row_of_an_attempt_that_had_ended_this_dispatch_is_told_again() -> None:
    mine = started("a", "resume", hop=1)
    take_over = TakeOver(mine, delta("a", 0, 7, 8), completed("a", 2))
    effects = take_over.read()
    assert of(effects, Acknowledge) and not of(effects, Submit)
    superseded, retold = take_over.bench.rows()
    assert (superseded.attempt, superseded.outcome, superseded.final) == ("a1", "superseded", 0)
    assert (retold.attempt, retold.outcome, retold.final, retold.hop) == ("a", "completed", 1, 1)
    assert (retold.tokens_out, retold.chunks, retold.finish_reason) == (2, 1, "stop")
    assert (retold.started_us, retold.first_us, retold.last_us, retold.finished_us) == (2000, 3500, 5000, 6125)
    assert (retold.worker, retold.gpu_ns) == ("", 0)
    (event,) = [e.row for e in of(effects, AddRow) if isinstance(e.row, EventRow)]
    assert (event.kind, event.attempt, event.origin, event.ts) == ("request.finished", "a", ORIGIN, 1_000_000 + 6125)
    (finished,) = take_over.bench.core.take_finished()
    assert (finished.outcome, finished.completion_tokens, finished.service_us) == ("completed", 2, 4125)


def test_the_row_is_told_again_with_the_times_of_the_first_telling() -> None:
    first = Bench()
    first.take(a_dispatch(hop=1))
    first.read_log()
    usage = a_usage(3, 1)
    first.outputs(Output(key="a1", text="x", token_ids=[1], finish_reason="stop", usage=usage, gpu_ns=77))
    first.keep(first.core.on_delivered(["a1"], NOW_US))
    (told,) = first.rows()
    take_over = TakeOver(*answers(first.effects), attempts="b")
    take_over.read()
    _, retold = take_over.bench.rows()
    unknown = {"worker": "", "gpu_ns": 0}
    assert {field: getattr(retold, field) for field in RequestRow.__struct_fields__} == {
        field: unknown.get(field, getattr(told, field)) for field in RequestRow.__struct_fields__
    }


def test_a_row_that_is_told_again_counts_what_was_told_before_its_attempt() -> None:
    before = (started("a"), delta("a", 0, 7), started("b", "resume", hop=1), delta("b", 1, 8, 9), completed("b", 3))
    take_over = TakeOver(*before)
    take_over.read()
    _, retold = take_over.bench.rows()
    assert (retold.attempt, retold.continued, retold.tokens_out, retold.answer_tokens) == ("b", 1, 2, 3)
    assert retold.answer_first_us == LOG_MS * 1000 - retold.produced_ts


def test_an_end_that_a_processor_wrote_has_its_row_from_there() -> None:
    take_over = TakeOver(completed(None, 0))
    take_over.read()
    assert [row.outcome for row in take_over.bench.rows()] == ["superseded"]


def test_a_cancellation_while_it_resumes_ends_it_after_the_accepted_tokens() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7, 8))
    take_over.bench.take(Cancel(id="order-42", tenant="acme"))
    effects = take_over.read()
    assert not of(effects, Submit)
    *_, end = take_over.sent
    assert isinstance(end, CancelledRequest)
    assert (end.attempt, end.next_seq) == ("a1", 2)
    acks = of(take_over.bench.core.on_delivered(["a1"], NOW_US), Acknowledge)
    assert [ack.offset for ack in acks] == [1, 2]


def test_a_deadline_that_has_passed_ends_it_after_the_accepted_tokens() -> None:
    bench = Bench()
    bench.take(a_dispatch(hop=1, deadline_at_ms=1999))
    bench.read_log(started("a"), delta("a", 0, 7, 8))
    *_, end = answers(bench.effects)
    assert isinstance(end, Expired)
    assert end.next_seq == 2


def test_a_deadline_passes_while_it_resumes() -> None:
    bench = Bench()
    bench.take(a_dispatch(hop=1, deadline_at_ms=3000))
    assert bench.core.on_wake(3 * SECOND_US) == []
    assert kinds(bench.read_log()) == ["expired"]


def test_an_invalid_body_is_rejected_by_the_first_attempt_that_counts() -> None:
    bench = Bench()
    bench.take(a_dispatch(body=a_body(temperature=9), hop=1))
    *_, end = answers(bench.read_log(started("a")))
    assert isinstance(end, Rejected)


def test_a_request_that_had_ended_before_its_cancellation_stays_as_it_was() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7), completed("a", 1))
    take_over.bench.take(Cancel(id="order-42", tenant="acme"))
    assert kinds(take_over.read()) == []
    assert [row.outcome for row in take_over.bench.rows() if row.final] == ["completed"]


def test_a_slot_that_is_lost_while_it_resumes_is_somebody_elses() -> None:
    take_over = TakeOver(started("a"))
    effects = take_over.bench.keep(take_over.bench.core.on_lost(take_over.bench.slot, NOW_US))
    assert of(effects, Unfollow) and not of(effects, Acknowledge)
    assert len(take_over.bench.core.jobs) == 0
    assert of(take_over.read(), Submit) == []


def test_when_the_grace_is_over_what_resumes_is_handed_back() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7))
    take_over.bench.core.on_drain()
    effects = take_over.bench.keep(take_over.bench.core.on_grace_over(NOW_US))
    assert [send.topic for send in of(effects, Send)] == [names.returns_topic("m")]
    assert of(effects, Unfollow)
    assert [row.outcome for row in take_over.bench.rows()] == ["returned"]


def test_an_engine_that_dies_while_it_resumes_costs_it_no_attempt() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, *range(8)))
    take_over.bench.keep(take_over.bench.core.on_engine_dead(NOW_US))
    assert take_over.bench.core.waiting == 1
    take_over.bench.keep(take_over.bench.core.on_engine_ready(NOW_US))
    (submit,) = of(take_over.read(), Submit)
    assert submit.request.continued == tuple(range(8))
    assert [job.runs for job in take_over.bench.core.jobs] == [1]


def test_a_cancellation_is_not_held_up_by_an_engine_that_died() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7))
    take_over.bench.take(Cancel(id="order-42", tenant="acme"))
    take_over.bench.keep(take_over.bench.core.on_engine_dead(NOW_US))
    assert kinds(take_over.read()) == ["cancelled"]


def test_a_beginning_that_is_refused_is_written_again() -> None:
    take_over = TakeOver(started("a"), delta("a", 0, 7))
    effects = take_over.bench.keep(take_over.bench.core.on_undelivered(["a1"], NOW_US))
    assert [(type(e)) for e in effects if isinstance(e, Follow | Unfollow)] == [Unfollow, Follow]
    assert kinds(effects) == ["started"]


def test_a_cancellation_outlives_a_terminal_record_that_is_refused() -> None:
    take_over = TakeOver(started("a"))
    take_over.bench.take(Cancel(id="order-42", tenant="acme"))
    take_over.read()
    take_over.bench.keep(take_over.bench.core.on_undelivered(["a1"], NOW_US))
    *_, begun = take_over.sent
    assert isinstance(begun, Started)
    refused = [record for record in take_over.sent if not isinstance(record, CancelledRequest)]
    (follow,) = of(take_over.bench.effects, Follow)[-1:]
    found = [(follow.serial, record, LOG_MS) for record in (*take_over.before, *refused)]
    assert kinds(take_over.bench.keep(take_over.bench.core.on_log(found, NOW_US))) == ["cancelled"]


def test_refused_records_end_the_attempt_and_the_next_one_goes_on_after_what_the_log_has() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    bench.outputs(Output(key="a1", text="x", token_ids=[7]))
    delivered = answers(bench.effects)
    bench.outputs(Output(key="a1", text="y", token_ids=[8]))
    bench.keep(bench.core.on_undelivered(["a1"], NOW_US))
    again = bench.outputs(an_end("a1", error=Cancelled("aborted")))
    (follow,) = of(again, Follow)
    found = [(follow.serial, record, LOG_MS) for record in (*delivered, *answers(again))]
    (submit,) = of(bench.core.on_log(found, NOW_US), Submit)
    assert submit.request.continued == (7,)


def test_a_sequence_that_is_handed_back_leaves_all_its_tokens_in_the_log() -> None:
    bench = Bench()
    bench.take(a_dispatch(body=a_body(stream=False)))
    bench.outputs(Output(key="a1", text="x", token_ids=[7, 8]))
    bench.core.on_drain()
    assert of(bench.core.on_grace_over(NOW_US), Abort)
    last = Output(key="a1", token_ids=[9], error=Cancelled("aborted"), usage=a_usage())
    effects = bench.outputs(last)
    rest, handed_back = of(effects, Send)
    record = decode_response(rest.value)
    assert isinstance(record, Progress)
    assert (record.seq, record.token_ids, handed_back.topic) == (0, [7, 8, 9], names.returns_topic("m"))
    assert [row.tokens_out for row in bench.rows()] == [3]


def test_what_is_handed_back_says_what_was_told_of_its_answer() -> None:
    before = Told(tokens=1, first_at_us=1_100_000, last_at_us=1_100_000)
    bench = Bench()
    bench.take(a_dispatch(hop=1, told=before))
    bench.read_log(started("a"), delta("a", 0, 7))
    bench.outputs(Output(key="a1", text="x", token_ids=[8, 9]))
    bench.core.on_drain()
    bench.core.on_grace_over(NOW_US)
    (handed_back,) = of(bench.outputs(an_end("a1", error=Cancelled("aborted"))), Send)
    told = decode_return(handed_back.value).dispatch.told
    assert told == Told(tokens=3, first_at_us=1_100_000, last_at_us=NOW_US + 10)


def test_what_is_handed_back_before_it_began_keeps_what_was_told() -> None:
    before = Told(tokens=1, first_at_us=1_100_000, last_at_us=1_100_000)
    bench = Bench(engine_is_ready=False)
    bench.take(a_dispatch(hop=1, told=before))
    (handed_back,) = of(bench.core.on_drain(), Send)
    assert decode_return(handed_back.value).dispatch.told == before


def test_tokens_that_were_not_told_when_the_engine_died_are_told() -> None:
    bench = Bench()
    bench.take(a_dispatch(body=a_body(stream=False)))
    bench.outputs(Output(key="a1", text="x", token_ids=[7, 8]))
    bench.keep(bench.core.on_engine_dead(NOW_US))
    bench.keep(bench.core.on_engine_ready(NOW_US))
    (submit,) = of(bench.read_log(), Submit)
    assert submit.request.continued == (7, 8)


def test_several_take_overs_in_a_row_go_on_where_the_last_one_stopped() -> None:
    log: list[Response] = []
    for run in range(4):
        bench = Bench(attempts=f"run{run}-")
        bench.slot.term = 5 + run
        bench.take(a_dispatch())
        (submit,) = of(bench.read_log(*log), Submit)
        assert submit.request.continued == tuple(range(8 * run))
        tokens = list(range(8 * run, 8 * run + 8))
        bench.outputs(Output(key=f"run{run}-1", text="x", token_ids=tokens))
        log += answers(bench.effects)
    assert [record.seq for record in log if isinstance(record, Delta)] == [0, 8, 16, 24]


def test_what_was_read_for_a_former_attempt_is_not_fed_to_the_next_one() -> None:
    # Three owners of the slot came to nothing: the next attempt is made alone, after another look at the log.
    owners = (started("a", term=2), started("b", "resume", term=3), started("c", "resume", term=4))
    before = (*owners, delta("c", 0, 7))
    take_over = TakeOver(*before)
    (follow,) = take_over.follows
    stale = delta("zombie", 5, 9)
    found = [(follow.serial, record, LOG_MS) for record in (*before, *take_over.sent, stale)]
    take_over.bench.keep(take_over.bench.core.on_log(found, NOW_US))
    assert not any(row.outcome == "voided" for row in take_over.bench.rows())
    (submit,) = of(take_over.read(), Submit)
    assert submit.request.continued == (7,)


def test_rows_of_the_account_are_never_told_for_a_request_that_only_waits_to_resume() -> None:
    take_over = TakeOver(started("a"))
    assert not [e for e in of(take_over.bench.effects, AddRow) if isinstance(e.row, RequestRow)]
