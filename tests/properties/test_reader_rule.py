"""Laws of the reader rule, on any records at all. That it keeps answers whole is `test_takeover`'s business."""

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.properties.log_model import Record
from tests.properties.log_model_readers import as_plain, as_sdk
from topics.codec import encode
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, Progress, Rejected, Response, Started

ATTEMPTS = st.sampled_from(["a", "b", "c"])
SMALL = st.integers(0, 3)
STARTED = st.builds(
    Started,
    id=st.just("r"),
    origin=st.just("o"),
    attempt=ATTEMPTS,
    mode=st.sampled_from(["fresh", "resume", "restart"]),
    hop=st.integers(0, 2),
    dispatch=st.sampled_from(["d/0/1", "d/1/1"]),
    term=st.integers(0, 2),
    deployment=st.just("m@v1"),
)
TEXTS = st.sampled_from(["x", ""])
TOKENS = st.lists(st.integers(0, 9), max_size=2)
DELTA = st.builds(
    Delta,
    id=st.just("r"),
    origin=st.just("o"),
    attempt=ATTEMPTS,
    seq=SMALL,
    text=TEXTS,
    token_ids=TOKENS,
)
PROGRESS = st.builds(Progress, id=st.just("r"), origin=st.just("o"), attempt=ATTEMPTS, seq=SMALL, token_ids=TOKENS)
COMPLETED = st.builds(
    Completed,
    id=st.just("r"),
    origin=st.just("o"),
    attempt=ATTEMPTS,
    next_seq=st.integers(0, 5),
    finish_reason=st.just("stop"),
)
REJECTED = st.builds(Rejected, id=st.just("r"), origin=st.just("o"))
LOGS = st.lists(st.one_of(STARTED, STARTED, DELTA, DELTA, PROGRESS, COMPLETED, REJECTED), max_size=25)


def nothing_is_accepted_after_the_end(log: list[Response]) -> None:
    reader = Reader()
    verdicts = [reader.feed(record) for record in log]
    after = verdicts[verdicts.index(Verdict.ENDED) + 1 :] if Verdict.ENDED in verdicts else []
    assert set(after) <= {Verdict.IGNORED}
    assert reader.has_ended is (Verdict.ENDED in verdicts)


def next_seq_goes_back_only_at_a_restart(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        before = reader.next_seq
        verdict = reader.feed(record)
        assert reader.next_seq >= before if verdict is not Verdict.RESTARTED else reader.next_seq == 0


def accepted_tokens_are_the_next_ones_of_the_current_attempt(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        current, before = reader.current, reader.next_seq
        if reader.feed(record) is Verdict.DELIVERED:
            assert isinstance(record, Delta | Progress)
            assert current is not None
            assert (record.attempt, record.seq) == (current.attempt, before)
            assert reader.next_seq == before + len(record.token_ids)


def an_attempt_gives_way_to_a_higher_hop_or_a_later_term_only(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        before = reader.current
        verdict = reader.feed(record)
        after = reader.current
        if verdict in (Verdict.STARTED, Verdict.RESTARTED) and before is not None:
            assert isinstance(record, Started)
            assert after is not None
            assert record.mode != "fresh"
            assert after.hop > before.hop or (after.hop, after.dispatch) == (before.hop, before.dispatch)
            assert after.hop > before.hop or after.term >= before.term
        else:
            assert before is None or after == before


def what_may_take_over_does(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        current, has_ended = reader.current, reader.has_ended
        verdict = reader.feed(record)
        if isinstance(record, Started) and not has_ended:
            is_later = current is not None and (
                record.hop > current.hop
                or (record.hop == current.hop and record.dispatch == current.dispatch and record.term >= current.term)
            )
            accepted = current is None or (record.mode != "fresh" and is_later)
            assert (verdict is not Verdict.IGNORED) is accepted


def the_end_is_the_current_attempts_or_a_processors_before_any(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        current, next_seq = reader.current, reader.next_seq
        if reader.feed(record) is Verdict.ENDED:
            assert isinstance(record, Completed | Rejected)
            by_processor = record.attempt is None and current is None
            by_attempt = current is not None and (record.attempt, record.next_seq) == (current.attempt, next_seq)
            assert by_processor or by_attempt


def a_reader_that_joins_with_the_same_state_goes_on_the_same(log: list[Response]) -> None:
    cut = len(log) // 2
    whole, head, tail = Reader(), Reader(), Reader()
    verdicts = [whole.feed(record) for record in log]
    for record in log[:cut]:
        head.feed(record)
    tail.current, tail.next_seq, tail.has_ended = head.current, head.next_seq, head.has_ended
    assert [tail.feed(record) for record in log[cut:]] == verdicts[cut:]


def the_plain_reader_and_the_sdk_agree(log: list[Response]) -> None:
    records = [Record(offset, 0, b"r", encode(record)) for offset, record in enumerate(log)]
    assert as_plain(records) == as_sdk(records)


LAWS = (
    nothing_is_accepted_after_the_end,
    next_seq_goes_back_only_at_a_restart,
    accepted_tokens_are_the_next_ones_of_the_current_attempt,
    an_attempt_gives_way_to_a_higher_hop_or_a_later_term_only,
    what_may_take_over_does,
    the_end_is_the_current_attempts_or_a_processors_before_any,
    a_reader_that_joins_with_the_same_state_goes_on_the_same,
    the_plain_reader_and_the_sdk_agree,
)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(LOGS)
def test_the_laws_hold_on_any_log(log: list[Response]) -> None:
    for law in LAWS:
        law(log)
