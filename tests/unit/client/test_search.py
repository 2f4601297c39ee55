"""Which request an id means, and what of its answer is news to a reader."""

import pytest

from pipeline.client.answer import Delta
from pipeline.client.search import Found, Search, Wanted
from tests.unit.client.builders import ORIGIN, completed, delta, rejected, started
from topics.codec import encode
from topics.errors import CodecError
from topics.requests import ReplyTo
from topics.responses import Response

HERE = ReplyTo(topic="inference.responses", partition=0)
THERE = ReplyTo(topic="inference.responses", partition=1)
LATER = "inference.requests.m.interactive/0/9"
ELSEWHERE = "inference.requests.large.bulk/0/1"
RESTARTED = Delta(text="", token_ids=[], seq=0, restarted=True)


def piece(seq: int, tokens: int = 1) -> Delta:
    return Delta(text="x", token_ids=list(range(tokens)), seq=seq)


def search(*records: Response, at_ms: int = 0, into: Search | None = None, reply: ReplyTo = HERE) -> Search:
    found = into or Search(Wanted(id="r"))
    for record in records:
        found.feed(reply, record.id.encode(), encode(record), at_ms)
    return found


def newest(found: Search) -> Found:
    answer = found.newest
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    ("delta", "last_seq"), [(piece(3), 3), (piece(3, 4), 6), (piece(7, 0), 7), (RESTARTED, -1)], ids=str
)
def test_a_piece_names_its_last_token(delta: Delta, last_seq: int) -> None:
    assert delta.last_seq == last_seq


@pytest.mark.parametrize(
    ("delta", "epoch", "is_news"),
    [
        (piece(4), 0, False),
        (piece(5), 0, True),
        (piece(3, 2), 0, False),
        (piece(3, 3), 0, True),
        (piece(5, 0), 0, True),
        (RESTARTED, 1, True),
        (piece(0), 1, True),
    ],
    ids=str,
)
def test_what_comes_after_the_last_token_is_news(delta: Delta, epoch: int, is_news: bool) -> None:
    assert Wanted(id="r", after_seq=4).is_news(delta, epoch) is is_news


@pytest.mark.parametrize(
    ("delta", "epoch", "is_news"),
    [(piece(9), 0, False), (RESTARTED, 1, False), (piece(4), 1, False), (piece(5), 1, True)],
)
def test_a_reader_who_knows_of_a_restart_is_not_told_again(delta: Delta, epoch: int, is_news: bool) -> None:
    assert Wanted(id="r", after_seq=4, restarts=1).is_news(delta, epoch) is is_news


def test_the_records_of_an_answer_are_kept_in_order_with_their_place() -> None:
    found = newest(search(started(), delta(0, "Hel"), delta(1, "lo")))
    assert (found.origin, found.reply) == (ORIGIN, HERE)
    assert [type(record).__name__ for record in found.records] == ["Started", "Delta", "Delta"]


def test_other_ids_are_passed_over_undecoded() -> None:
    found = Search(Wanted(id="r"))
    found.feed(HERE, b"other", b"no json", 0)
    found.feed(HERE, None, b"no json", 0)
    assert found.newest is None


def test_bytes_under_the_id_that_are_no_response_are_told() -> None:
    with pytest.raises(CodecError):
        Search(Wanted(id="r")).feed(HERE, b"r", b"{}", 0)


def test_of_several_requests_the_one_that_began_last_is_meant() -> None:
    found = search(started(origin=LATER), at_ms=20, reply=THERE)
    search(started(), at_ms=10, into=found)
    search(delta(0, "late"), at_ms=30, into=found)
    assert (newest(found).origin, newest(found).reply) == (LATER, THERE)


def test_an_origin_or_a_model_says_which_request_is_meant() -> None:
    by_origin = search(started(origin=LATER), started(), into=Search(Wanted(id="r", origin=ORIGIN)))
    by_model = search(started(origin=ELSEWHERE), started(), into=Search(Wanted(id="r", model="large")))
    assert newest(by_origin).origin == ORIGIN
    assert newest(by_model).origin == ELSEWHERE


@pytest.mark.parametrize(
    ("first", "is_whole"), [(started(), True), (rejected(), True), (delta(3, "x"), False), (completed(3), False)]
)
def test_an_answer_that_lost_its_beginning_is_not_whole(first: Response, is_whole: bool) -> None:
    assert newest(search(first)).is_whole is is_whole
