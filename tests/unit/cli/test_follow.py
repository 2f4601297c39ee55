import pytest

from pipeline.cli.follow import Follower, Judged, detail_of
from pipeline.cli.views.follow import record_line
from tests.unit.cli.builders import ORIGIN, a_completed, a_delta, a_started
from topics.responses import ErrorBody, Rejected, Response

ELSEWHERE = "inference.requests.large.bulk/0/1"


def follow(*records: Response, model: str | None = None) -> tuple[Follower, list[Judged]]:
    follower = Follower(model)
    judged = [follower.feed(record, record=f"r/0/{i}", at_ms=0) for i, record in enumerate(records)]
    return follower, [found for found in judged if found is not None]


def test_an_answer_is_followed_to_its_end() -> None:
    follower, judged = follow(a_started(), a_delta(), a_completed())

    assert [found.verdict for found in judged] == ["started", "delivered", "ended"]
    assert follower.has_ended


def test_records_of_a_worker_that_lost_the_request_are_shown_and_do_not_count() -> None:
    _, judged = follow(a_started("old"), a_started("new", mode="resume", hop=1), a_delta("old"), a_delta("new"))

    assert [found.verdict for found in judged] == ["started", "started", "ignored", "delivered"]
    assert judged[2].why == "attempt new is current"


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([a_delta()], "no attempt has started"),
        ([a_started(), a_delta(seq=3)], "token 0 is the next"),
        ([a_started(), a_completed(next_seq=0), a_delta()], "the request has ended"),
        ([a_started(), a_started("a2")], "attempt a1 is current"),
    ],
)
def test_why_a_record_is_ignored(records: list[Response], why: str) -> None:
    _, judged = follow(*records)

    assert (judged[-1].is_accepted, judged[-1].why) == (False, why)


def test_nothing_seen_is_not_the_end() -> None:
    follower, _ = follow()

    assert not follower.has_ended


def test_a_reused_id_has_ended_when_all_its_requests_have() -> None:
    follower, _ = follow(a_started(), a_completed(next_seq=0), a_started(origin=ELSEWHERE))

    assert not follower.has_ended


def test_other_models_are_left_out() -> None:
    _, judged = follow(a_started(), a_started(origin=ELSEWHERE), model="large")

    assert [found.origin for found in judged] == [ELSEWHERE]


def test_a_rejection_says_its_reason() -> None:
    error = ErrorBody(message="lane is full", type="QueueFull", param=None, code="queue_full")

    assert detail_of(Rejected(id="q", origin=ORIGIN, error=error)) == "queue_full: lane is full"


def test_a_record_is_one_line() -> None:
    _, judged = follow(a_started("k3f9"), a_delta("other", text="Hello\nthere"))

    lines = [record_line(found).plain for found in judged]

    assert lines[0].startswith("00:00:00.000  r/0/0")
    assert "✓ started   k3f9          fresh on tiny@v1, hop 0, term 1" in lines[0]
    assert "· delta     other         token 0 'Hello\\nthere'  ignored: attempt k3f9 is current" in lines[1]
