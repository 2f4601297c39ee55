import itertools
from typing import TypeVar

from pipeline.engines.protocol import Output
from pipeline.worker.core import WorkerCore
from pipeline.worker.effects import Abort, Acknowledge, AddRow, Effect, Fatal, Follow, Send, Submit
from pipeline.worker.rows import Identity
from pipeline.worker.slot import SlotOwner, Taken
from tests.unit.worker.builders import a_body, a_dispatch, a_usage
from topics import names
from topics.codec import decode_response
from topics.dispatches import Cancel, Dispatch, Owner
from topics.errors import Cancelled
from topics.responses import Failed, Response
from topics.texts import NOTHING_KEPT, TextRules
from topics.trace_rows import RequestRow

T = TypeVar("T")
NOW_US = 2_000_000
SECOND_US = 1_000_000
LOG_MS = 1_500
"""Broker time of what is read from the log."""


class Bench:
    """A core with one active slot and a list of everything it wanted."""

    def __init__(self, *, engine_is_ready: bool = True, attempts: str = "a", texts: TextRules = NOTHING_KEPT) -> None:
        serial = itertools.count(1)
        identity = Identity(worker="w", run="run", deployment="m@v1")
        self.core = WorkerCore(identity, new_id=lambda: f"{attempts}{next(serial)}", return_partitions=1, texts=texts)
        self.slot = an_active_slot(0)
        self.effects: list[Effect] = []
        self._offsets: dict[SlotOwner, int] = {}
        if engine_is_ready:
            self.effects += self.core.on_engine_ready(NOW_US)

    def take(self, record: Dispatch | Cancel, *, now_us: int = NOW_US, slot: SlotOwner | None = None) -> list[Effect]:
        slot = slot or self.slot
        offset = self._offsets[slot] = self._offsets.get(slot, 0) + 1
        taken = slot.on_record(record, offset=offset, at_ms=now_us // 1000)
        assert isinstance(taken, Taken)
        return self.keep(self.core.on_taken(slot, [taken], now_us))

    def outputs(self, *outputs: Output) -> list[Effect]:
        return self.keep(self.core.on_outputs(list(outputs), NOW_US + 10))

    def read_log(self, *before: Response) -> list[Effect]:
        """What those who began to follow last read: some records, and everything that was published so far."""
        follows = {effect.serial: effect for effect in of(self.effects, Follow)}
        records = [*before, *answers(self.effects)]
        found = [
            (serial, record, LOG_MS)
            for serial, follow in follows.items()
            for record in records
            if record.origin == follow.request.origin
        ]
        return self.keep(self.core.on_log(found, NOW_US + 20))

    def keep(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        return effects

    def rows(self) -> list[RequestRow]:
        return [e.row for e in self.effects if isinstance(e, AddRow) and isinstance(e.row, RequestRow)]


def an_active_slot(partition: int) -> SlotOwner:
    slot = SlotOwner(partition=partition, run="run", generation=1, base=0)
    slot.on_record(Owner(worker="w", run="run"), offset=0, at_ms=1900)
    slot.owned(0)
    return slot


def of(effects: list[Effect], kind: type[T]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def answers(effects: list[Effect]) -> list[Response]:
    return [decode_response(send.value) for send in of(effects, Send) if send.topic == names.RESPONSES]


def kinds(effects: list[Effect]) -> list[str]:
    return [str(record.__struct_config__.tag) for record in answers(effects)]


def an_end(key: str, *, error: Cancelled | None = None) -> Output:
    return Output(
        key=key,
        text="" if error else "x",
        token_ids=[] if error else [1],
        finish_reason=None if error else "stop",
        error=error,
        usage=a_usage(),
        gpu_ns=77,
    )


def test_a_dispatch_is_started_and_given_to_the_engine() -> None:
    effects = Bench().take(a_dispatch())
    assert kinds(effects) == ["started"]
    assert [submit.request.key for submit in of(effects, Submit)] == ["a1"]


def test_heartbeats_say_whose_request_has_ended_and_what_waited_behind_it() -> None:
    bench = Bench()
    bench.take(a_dispatch(tenant="acme", latency_class="bulk", backlog=7))
    bench.outputs(an_end("a1"))
    bench.keep(bench.core.on_delivered(["a1"], NOW_US))
    (finished,) = bench.core.take_finished()
    assert (finished.tenant, finished.latency_class, finished.backlog) == ("acme", "bulk", 7)


def test_it_is_acknowledged_only_when_its_terminal_record_was() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    ended = bench.outputs(an_end("a1"))
    assert kinds(ended) == ["delta", "completed"]
    assert of(bench.effects, Acknowledge) == []
    delivered = bench.keep(bench.core.on_delivered(["a1"], NOW_US))
    assert of(delivered, Acknowledge) == [Acknowledge(bench.slot, 1)]
    assert [(row.final, row.outcome, row.gpu_ns) for row in bench.rows()] == [(1, "completed", 77)]
    assert [finished.outcome for finished in bench.core.take_finished()] == ["completed"]


def test_a_body_that_is_invalid_is_rejected_without_engine_work() -> None:
    effects = Bench().take(a_dispatch(body=a_body(temperature=9)))
    assert kinds(effects) == ["started", "rejected"]
    assert of(effects, Submit) == []


def test_a_past_deadline_expires_without_engine_work() -> None:
    effects = Bench().take(a_dispatch(deadline_at_ms=1999))
    assert kinds(effects) == ["started", "expired"]
    assert of(effects, Submit) == []


def test_a_running_request_is_aborted_at_its_deadline() -> None:
    bench = Bench()
    bench.take(a_dispatch(deadline_at_ms=3000))
    assert bench.core.wake_at_us == 3 * SECOND_US
    assert bench.core.on_wake(3 * SECOND_US - 1000) == []
    assert of(bench.core.on_wake(3 * SECOND_US), Abort) == [Abort("a1")]
    assert kinds(bench.outputs(an_end("a1", error=Cancelled("aborted")))) == ["expired"]


def test_deadlines_count_in_broker_time() -> None:
    bench = Bench()
    own_is_ahead_us = 5 * SECOND_US
    taken = bench.slot.on_record(a_dispatch(deadline_at_ms=3000), offset=1, at_ms=2000)
    assert taken is not None
    bench.core.on_taken(bench.slot, [taken], NOW_US + own_is_ahead_us)
    assert bench.core.wake_at_us == 3 * SECOND_US + own_is_ahead_us


def test_only_the_tenant_can_cancel() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    assert of(bench.take(Cancel(id="order-42", tenant="other")), Abort) == []
    assert of(bench.take(Cancel(id="order-42", tenant="acme")), Abort) == [Abort("a1")]


def test_a_cancellation_is_acknowledged_with_its_request() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    bench.take(Cancel(id="order-42", tenant="acme"))
    ended = bench.outputs(an_end("a1", error=Cancelled("aborted")))
    assert kinds(ended) == ["cancelled"]
    assert [ack.offset for ack in of(bench.core.on_delivered(["a1"], NOW_US), Acknowledge)] == [1, 2]


def test_a_cancellation_may_come_first() -> None:
    bench = Bench()
    assert bench.take(Cancel(id="order-42", tenant="acme")) == []
    assert kinds(bench.take(a_dispatch())) == ["started", "cancelled"]
    assert [ack.offset for ack in of(bench.core.on_delivered(["a1"], NOW_US), Acknowledge)] == [2, 1]


def test_a_cancellation_that_finds_nobody_is_acknowledged_after_a_while() -> None:
    bench = Bench()
    bench.take(Cancel(id="gone", tenant="acme"))
    assert bench.core.on_tick(NOW_US + 29 * SECOND_US) == []
    assert of(bench.core.on_tick(NOW_US + 31 * SECOND_US), Acknowledge) == [Acknowledge(bench.slot, 1)]


def test_one_that_names_its_request_lies_behind_it_and_holds_up_no_commit() -> None:
    bench = Bench()
    cancel = Cancel(id="order-42", tenant="acme", origin=a_dispatch().origin)
    assert of(bench.take(cancel), Acknowledge) == [Acknowledge(bench.slot, 1)]
    assert kinds(bench.take(a_dispatch())) == ["started", "cancelled"]


def test_a_cancellation_in_another_slot_waits_again_when_its_request_is_lost() -> None:
    bench = Bench()
    own, other = bench.slot, an_active_slot(3)
    bench.take(Cancel(id="order-42", tenant="acme"), slot=own)
    bench.take(a_dispatch(), slot=other)
    bench.keep(bench.core.on_undelivered(["a1"], NOW_US))
    bench.core.on_lost(other, NOW_US)
    again = an_active_slot(3)
    bench.take(a_dispatch(), slot=again)
    assert kinds(bench.effects)[-1] == "cancelled"
    name = answers(bench.effects)[-1].attempt or ""
    assert Acknowledge(own, 1) in bench.core.on_delivered([name], NOW_US)


def test_a_cancellation_that_came_first_in_another_slot_is_acknowledged_with_the_request() -> None:
    bench = Bench()
    other = an_active_slot(3)
    bench.take(Cancel(id="order-42", tenant="acme"), slot=other)
    assert kinds(bench.take(a_dispatch())) == ["started", "cancelled"]
    delivered = of(bench.core.on_delivered(["a1"], NOW_US), Acknowledge)
    assert delivered == [Acknowledge(bench.slot, 1), Acknowledge(other, 1)]


def test_a_cancellation_that_is_repeated_in_another_slot_frees_the_first_one() -> None:
    bench = Bench()
    other = an_active_slot(3)
    bench.take(Cancel(id="order-42", tenant="acme"), slot=other)
    assert of(bench.take(Cancel(id="order-42", tenant="acme")), Acknowledge) == [Acknowledge(other, 1)]


def test_a_cancellation_of_a_lost_slot_is_forgotten_with_it() -> None:
    bench = Bench()
    other = an_active_slot(3)
    bench.take(Cancel(id="order-42", tenant="acme"), slot=other)
    bench.core.on_lost(other, NOW_US)
    assert kinds(bench.take(a_dispatch())) == ["started"]


def test_a_refused_delta_ends_the_attempt_and_another_one_begins() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    assert of(bench.core.on_undelivered(["a1"], NOW_US), Abort) == [Abort("a1")]
    silent = bench.outputs(Output(key="a1", text="x", token_ids=[1]))
    assert kinds(silent) == []
    again = bench.outputs(an_end("a1", error=Cancelled("aborted")))
    assert [(r.attempt, r.mode) for r in answers(again) if hasattr(r, "mode")] == [("a2", "resume")]
    assert [(row.final, row.outcome) for row in bench.rows()] == [(0, "undelivered")]


def test_a_refused_terminal_record_is_not_acknowledged() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    bench.outputs(an_end("a1"))
    assert kinds(bench.keep(bench.core.on_undelivered(["a1"], NOW_US))) == ["started"]
    assert of(bench.effects, Acknowledge) == []


def test_answers_that_are_always_refused_end_among_the_dead_letters() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    for attempt in ("a1", "a2", "a3"):
        bench.outputs(an_end(attempt))
        bench.keep(bench.core.on_undelivered([attempt], NOW_US))
    (letter,) = [send for send in of(bench.effects, Send) if send.topic == names.DEAD_LETTERS]
    assert of(bench.core.on_delivered([letter.ref], NOW_US), Acknowledge) == [Acknowledge(bench.slot, 1)]


def test_after_an_engine_died_its_requests_run_one_at_a_time() -> None:
    bench = Bench()
    bench.take(a_dispatch(id="r1", origin="inference.requests.m.interactive/0/1"))
    bench.take(a_dispatch(id="r2", origin="inference.requests.m.interactive/0/2"))
    bench.keep(bench.core.on_engine_dead(NOW_US))
    bench.keep(bench.core.on_engine_ready(NOW_US))
    assert [s.request.key for s in of(bench.read_log(), Submit)] == ["a3"]
    bench.outputs(an_end("a3"))
    assert [s.request.key for s in of(bench.read_log(), Submit)] == ["a4"]


def test_a_request_that_kills_the_engine_alone_fails_and_is_kept_for_inspection() -> None:
    bench = Bench()
    bench.take(a_dispatch(id="poison"))
    bench.keep(bench.core.on_engine_dead(NOW_US))
    bench.keep(bench.core.on_engine_ready(NOW_US))
    bench.read_log()
    effects = bench.core.on_engine_dead(NOW_US)
    assert kinds(effects) == ["failed"]
    assert [send.topic for send in of(effects, Send)][-1] == names.DEAD_LETTERS


def test_what_comes_while_the_engine_loads_waits() -> None:
    bench = Bench(engine_is_ready=False)
    assert of(bench.take(a_dispatch()), Submit) == []
    assert bench.core.waiting == 1
    assert len(of(bench.core.on_engine_ready(NOW_US), Submit)) == 1


def test_a_lost_slot_publishes_nothing_more() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    assert of(bench.core.on_lost(bench.slot, NOW_US), Abort) == [Abort("a1")]
    assert kinds(bench.outputs(Output(key="a1", text="x", token_ids=[1]))) == []
    bench.outputs(an_end("a1", error=Cancelled("aborted")))
    assert len(bench.core.jobs) == 0
    assert [(row.final, row.outcome, row.gpu_ns) for row in bench.rows()] == [(0, "lost", 77)]


def test_draining_hands_back_what_waits_and_lets_the_rest_finish() -> None:
    bench = Bench()
    bench.take(a_dispatch(id="runs"))
    bench.core.on_drain()
    returned = bench.take(a_dispatch(id="late"))
    (send,) = of(returned, Send)
    assert send.topic == names.returns_topic("m")
    assert of(bench.core.on_delivered([send.ref], NOW_US), Acknowledge) == [Acknowledge(bench.slot, 2)]
    assert kinds(bench.outputs(an_end("a1"))) == ["delta", "completed"]


def test_when_the_grace_is_over_the_rest_is_handed_back() -> None:
    bench = Bench()
    bench.take(a_dispatch())
    bench.core.on_drain()
    assert of(bench.core.on_grace_over(NOW_US), Abort) == [Abort("a1")]
    ended = bench.outputs(an_end("a1", error=Cancelled("aborted")))
    assert [send.topic for send in of(ended, Send)] == [names.returns_topic("m")]
    assert [(row.final, row.outcome) for row in bench.rows()] == [(0, "returned")]


def test_a_dead_letter_that_is_refused_ends_the_worker() -> None:
    bench = Bench()
    error = Cancelled("x")
    bench.slot.on_unreadable(1)
    effects = bench.core.on_unreadable(bench.slot, offset=1, key=None, value=b"x", headers=(), error=error)
    (letter,) = of(effects, Send)
    assert len(of(bench.core.on_undelivered([letter.ref], NOW_US), Fatal)) == 1


def test_nothing_begins_on_a_slot_whose_commit_is_full() -> None:
    bench = Bench()
    bench.take(a_dispatch(id="first"))
    bench.slot.tracker.is_full = True
    assert of(bench.take(a_dispatch()), Submit) == []
    bench.slot.tracker.is_full = False
    assert len(of(bench.core.on_committed(NOW_US), Submit)) == 1


def test_the_first_unfinished_dispatch_of_a_full_slot_begins_or_it_would_stay_full() -> None:
    bench = Bench(engine_is_ready=False)
    bench.take(a_dispatch(id="first"))
    bench.take(a_dispatch(id="second"))
    bench.slot.tracker.is_full = True
    assert [s.request.key for s in of(bench.core.on_engine_ready(NOW_US), Submit)] == ["a1"]
    assert bench.core.waiting == 1


def test_nothing_begins_while_the_trace_is_too_far_behind() -> None:
    bench = Bench()
    bench.core.on_committed(NOW_US, is_held=True)
    assert of(bench.take(a_dispatch()), Submit) == []
    assert len(of(bench.core.on_committed(NOW_US), Submit)) == 1


def test_an_answer_that_no_record_holds_fails_with_the_way_out() -> None:
    bench = Bench()
    bench.take(a_dispatch(body=a_body(stream=False)))
    ended = bench.outputs(Output(key="a1", text="x" * 2_200_000, token_ids=[1], finish_reason="stop"))
    (end,) = answers(ended)
    assert isinstance(end, Failed)
    assert end.error is not None
    assert "set stream to true" in end.error.message
