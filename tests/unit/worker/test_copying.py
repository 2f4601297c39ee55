"""Jobs that copy the answer of a primary, as the worker's core carries them."""

from typing import Any

import msgspec
import pytest

from pipeline.worker.effects import Acknowledge, Follow, Send, Submit, Unfollow
from pipeline.worker.watching import Place, Watch
from tests.unit.worker.builders import a_body, a_dispatch, a_usage
from tests.unit.worker.test_core import LOG_MS, NOW_US, Bench, of
from topics.codec import decode_response, decode_return
from topics.dispatches import Cancel, Dispatch, Primary
from topics.requests import ReplyTo
from topics.responses import (
    CancelledRequest,
    Completed,
    Delta,
    ErrorBody,
    Failed,
    Progress,
    Response,
    Started,
)

ORIGIN = "inference.requests.m.interactive/0/7"
COPY_ORIGIN = "inference.requests.m.interactive/0/8"
PRIMARY = Primary(id="first", origin=ORIGIN, reply=ReplyTo(topic="inference.responses", partition=2), since_ms=5)


def a_copy(*, stream: bool = True) -> Dispatch:
    return a_dispatch(
        id="second",
        origin=COPY_ORIGIN,
        body=a_body(stream=stream),
        primary=PRIMARY,
        reason="coalesced",
        seq=0,
    )


def started(attempt: str = "p1", mode: Any = "fresh") -> Started:
    return Started(
        id="first", origin=ORIGIN, attempt=attempt, mode=mode, hop=0, dispatch="d/0/1", term=0, deployment="m@v1"
    )


def delta(seq: int, text: str, attempt: str = "p1") -> Delta:
    return Delta(id="first", origin=ORIGIN, attempt=attempt, seq=seq, text=text, token_ids=[seq])


def completed(next_seq: int, attempt: str = "p1", body: Any = None) -> Completed:
    return Completed(
        id="first",
        origin=ORIGIN,
        attempt=attempt,
        next_seq=next_seq,
        usage=a_usage(3, 2),
        finish_reason="stop",
        body=body,
    )


class Follower:
    """A bench whose only job follows."""

    def __init__(self, *, stream: bool = True) -> None:
        self.bench = Bench()
        (self.follow,) = of(self.bench.take(a_copy(stream=stream)), Follow)

    def log(self, *records: Response) -> "Follower":
        self.bench.keep(self.bench.core.on_log([(self.follow.serial, r, LOG_MS) for r in records], NOW_US))
        return self

    @property
    def sent(self) -> list[Response]:
        return [decode_response(send.value) for send in of(self.bench.effects, Send) if not send.ref.startswith("ret")]


def test_a_copy_follows_its_primary_and_is_not_given_to_the_engine() -> None:
    follower = Follower()
    assert follower.follow.request == PRIMARY
    assert not of(follower.bench.effects, Submit)


def test_a_copy_is_an_answer_of_its_own_and_acknowledged_after_its_terminal() -> None:
    follower = Follower().log(started(), delta(0, "a"), delta(1, "b"), completed(2))
    begun, one, two, end = follower.sent
    assert isinstance(begun, Started) and isinstance(one, Delta) and isinstance(two, Delta)
    assert (begun.id, begun.mode, one.text + two.text) == ("second", "fresh", "ab")
    assert isinstance(end, Completed)
    assert (end.source, end.next_seq, end.usage, end.attempt) == ("coalesced", 2, a_usage(3, 2), begun.attempt)
    assert of(follower.bench.effects, Unfollow) and not of(follower.bench.effects, Acknowledge)
    assert of(follower.bench.keep(follower.bench.core.on_delivered([begun.attempt], NOW_US)), Acknowledge)
    (row,) = follower.bench.rows()
    assert (row.outcome, row.reason, row.gpu_ns, row.tokens_out) == ("completed", "coalesced", 0, 2)
    (finished,) = follower.bench.core.take_finished()
    assert (finished.completion_tokens, finished.service_us) == (0, 0)


def test_who_does_not_stream_gets_a_body_with_its_own_id() -> None:
    *_, end = Follower(stream=False).log(started(), delta(0, "a"), delta(1, "b"), completed(2)).sent
    assert isinstance(end, Completed)
    assert (end.body["id"], end.body["choices"][0]["message"]["content"]) == ("chatcmpl-second", "ab")


def test_who_streams_gets_one_delta_of_a_primary_that_does_not() -> None:
    body = {"choices": [{"message": {"content": "whole"}}]}
    progress = Progress(id="first", origin=ORIGIN, attempt="p1", seq=0, token_ids=[4, 5])
    _, one, end = Follower().log(started(), progress, completed(2, body=body)).sent
    assert isinstance(one, Delta) and isinstance(end, Completed)
    assert (one.text, one.token_ids, end.next_seq) == ("whole", [4, 5], 2)


def test_a_primary_that_begins_again_voids_the_copy() -> None:
    follower = Follower().log(started(), delta(0, "a"), started("p2", "restart"), delta(0, "x", "p2"))
    first, _, second, again = follower.sent
    assert isinstance(second, Started) and isinstance(again, Delta) and isinstance(first, Started)
    assert (second.mode, again.attempt, again.seq) == ("restart", second.attempt, 0)
    assert second.attempt != first.attempt


def test_a_copy_fails_as_its_primary_does() -> None:
    error = ErrorBody(message="no", type="GenerationFailed", param=None, code="generation_failed", retryable=True)
    failed = Failed(id="first", origin=ORIGIN, attempt="p1", error=error)
    *_, end = Follower().log(started(), failed).sent
    assert isinstance(end, Failed)
    assert (end.id, end.error) == ("second", error)


@pytest.mark.parametrize(
    "records",
    [
        (started(), CancelledRequest(id="first", origin=ORIGIN, attempt="p1")),
        (delta(7, "the beginning is gone"),),
    ],
)
def test_without_an_answer_to_share_the_dispatch_goes_back(records: tuple[Response, ...]) -> None:
    follower = Follower().log(*records)
    *_, send = of(follower.bench.effects, Send)
    assert decode_return(send.value).reason == "detached"
    assert of(follower.bench.effects, Unfollow)


def test_a_cancelled_copy_ends_at_once_and_alone() -> None:
    follower = Follower().log(started(), delta(0, "a"))
    follower.bench.take(Cancel(id="second", tenant="acme"))
    *_, end = follower.sent
    assert isinstance(end, CancelledRequest)
    assert end.id == "second" and of(follower.bench.effects, Unfollow)


def test_a_copy_whose_records_are_refused_is_made_again() -> None:
    follower = Follower().log(started(), delta(0, "a"))
    effects = follower.bench.core.on_undelivered([follower.bench.core.jobs.at(1).attempt.name], NOW_US)  # type: ignore[union-attr]
    assert [type(e) for e in effects if isinstance(e, Follow | Unfollow)] == [Unfollow, Follow]


def test_an_engine_that_dies_does_not_touch_copies() -> None:
    follower = Follower().log(started(), delta(0, "a"))
    assert not of(follower.bench.core.on_engine_dead(NOW_US), Send)
    assert isinstance(follower.log(delta(1, "b"), completed(2)).sent[-1], Completed)


def test_one_that_begins_further_back_does_not_feed_the_others_twice() -> None:
    watch, place = Watch(), Place("inference.responses", 2)
    watch.follow(1, PRIMARY)
    watch.locate({1: 10})
    assert [f.serial for f in watch.read(place, 10, b"first")] == [1]
    watch.follow(2, PRIMARY)
    watch.locate({2: 5})
    assert watch.positions == {place: 5}
    fed = [[f.serial for f in watch.read(place, offset, b"first")] for offset in (5, 10, 11)]
    assert fed == [[2], [2], [2, 1]] or fed == [[2], [2], [1, 2]]


def test_when_the_one_further_back_leaves_the_position_returns() -> None:
    watch, place = Watch(), Place("inference.responses", 2)
    for serial, offset in ((1, 10), (2, 5)):
        watch.follow(serial, PRIMARY)
        watch.locate({serial: offset})
    watch.unfollow(2)
    watch.settle()
    assert watch.positions == {place: 10}
    watch.unfollow(1)
    watch.settle()
    assert (watch.positions, len(watch)) == ({}, 0)


def own(record: Response) -> Response:
    """A record of an earlier attempt at the copy."""
    dispatch = {"dispatch": "inference.dispatch.m.v1/0/1"} if isinstance(record, Started) else {}
    return msgspec.structs.replace(record, id="second", origin=COPY_ORIGIN, **dispatch)


class TakenOver:
    """A bench whose only job is a copy that another worker had begun."""

    def __init__(self, *before: Response, stream: bool = True) -> None:
        self.bench = Bench()
        self.bench.slot.term = 5
        (self.own,) = of(self.bench.take(a_copy(stream=stream)), Follow)
        (begun,) = self.sent
        log = [*(own(record) for record in before), begun]
        self.bench.keep(self.bench.core.on_log([(self.own.serial, record, LOG_MS) for record in log], NOW_US))

    def log(self, *records: Response) -> "TakenOver":
        self.bench.keep(self.bench.core.on_log([(self.own.serial, record, LOG_MS) for record in records], NOW_US))
        return self

    @property
    def sent(self) -> list[Response]:
        return [decode_response(send.value) for send in of(self.bench.effects, Send)]


def test_a_copy_that_is_taken_over_goes_on_where_it_had_stopped() -> None:
    copy = TakenOver(started("c1"), delta(0, "a", "c1"), delta(1, "b", "c1"))
    assert (copy.own.request.origin, of(copy.bench.effects, Follow)[-1].request) == (COPY_ORIGIN, PRIMARY)
    begun, third, end = copy.log(started(), delta(0, "a"), delta(1, "b"), delta(2, "c"), completed(3)).sent
    assert isinstance(begun, Started) and isinstance(third, Delta) and isinstance(end, Completed)
    assert (begun.mode, third.attempt, third.seq, third.text) == ("resume", begun.attempt, 2, "c")
    assert (end.next_seq, end.attempt) == (3, begun.attempt)


def test_a_copy_that_only_lacked_its_end_gets_that() -> None:
    copy = TakenOver(started("c1"), delta(0, "a", "c1"), delta(1, "b", "c1"))
    _, end = copy.log(started(), delta(0, "a"), delta(1, "b"), completed(2)).sent
    assert isinstance(end, Completed)
    assert end.next_seq == 2


def test_who_does_not_stream_gets_the_whole_body_after_a_take_over() -> None:
    copy = TakenOver(started("c1"), Progress(id="second", origin="", attempt="c1", seq=0, token_ids=[0]), stream=False)
    *_, end = copy.log(started(), delta(0, "a"), delta(1, "b"), completed(2)).sent
    assert isinstance(end, Completed)
    assert (end.body["choices"][0]["message"]["content"], end.next_seq) == ("ab", 1)


def test_a_copy_whose_primary_began_again_meanwhile_begins_again_too() -> None:
    copy = TakenOver(started("c1"), delta(0, "a", "c1"), delta(1, "b", "c1"))
    again = (started(), started("p2", "restart"), delta(7, "x", "p2"))
    assert [type(record) for record in copy.log(*again).sent] == [Started]
    assert of(copy.bench.effects, Follow)[-1].request == PRIMARY
    restart = delta(0, "x", "p2")
    restart.token_ids[:] = [9]
    _, second, first = copy.log(started("p2", "restart"), restart).sent
    assert isinstance(second, Started) and isinstance(first, Delta)
    assert (second.mode, first.seq, first.text) == ("restart", 0, "x")


def test_a_copy_that_had_ended_is_left_alone() -> None:
    copy = TakenOver(started("c1"), delta(0, "a", "c1"), completed(1, "c1"))
    assert of(copy.bench.effects, Acknowledge)
    assert [type(record) for record in copy.sent] == [Started]


def test_a_copy_that_was_cancelled_meanwhile_ends_after_its_tokens() -> None:
    bench = Bench()
    bench.slot.term = 5
    (follow,) = of(bench.take(a_copy()), Follow)
    bench.take(Cancel(id="second", tenant="acme"))
    (begun,) = [decode_response(send.value) for send in of(bench.effects, Send)]
    records = (own(started("c1")), own(delta(0, "a", "c1")), begun)
    (send,) = of(bench.core.on_log([(follow.serial, record, LOG_MS) for record in records], NOW_US), Send)
    end = decode_response(send.value)
    assert isinstance(end, CancelledRequest)
    assert end.next_seq == 1


def test_who_misses_records_that_the_log_has_lost_is_known() -> None:
    watch, place = Watch(), Place("inference.responses", 2)
    for serial, offset in ((1, 10), (2, 30)):
        watch.follow(serial, PRIMARY)
        watch.locate({serial: offset})
    assert [f.serial for f in watch.skipped(place, 10)] == []
    assert [f.serial for f in watch.skipped(place, 25)] == [1]
    assert [f.serial for f in watch.skipped(place, 31)] == [1, 2]
