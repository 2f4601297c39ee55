"""Laws of the reader rule, on interleavings of workers that take over from each other and on any records at all."""

import random
from collections.abc import Iterator

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.properties.slots import ANSWER_TOKENS, SLOTS, Tape, World, read
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, Progress, Rejected, Response, Started

FINAL_STEPS = 400
BURSTS = (1, 1, 2, 4, 9)


def _disturbed(rng: random.Random) -> World:
    """A world after owners changed, stalled, woke up late and died, and dispatches were doubled and repeated."""
    world = World(rng)
    world.dispatch()
    awake: list[Iterator[None]] = []
    for _ in range(rng.randrange(20, 120)):
        chance = rng.random()
        if chance < 0.08:
            awake.append(_assigned(world, rng.choice(SLOTS)))
        elif chance < 0.10:
            world.dispatch()
        elif chance < 0.12:
            world.dispatch_again()
        elif chance < 0.123:
            world.reject()
        elif awake:
            _run_one(awake, rng)
    _settle(world, awake)
    return world


def _assigned(world: World, slot: int) -> Iterator[None]:
    worker = world.worker(slot)
    next(worker)
    return worker


def _run_one(awake: list[Iterator[None]], rng: random.Random) -> None:
    """One of the workers goes on for a few steps, or is killed."""
    worker = rng.choice(awake)
    if rng.random() < 0.03 or not _goes_on(worker, rng.choice(BURSTS)):
        awake.remove(worker)


def _goes_on(worker: Iterator[None], steps: int) -> bool:
    return all(next(worker, worker) is None for _ in range(steps))


def _settle(world: World, zombies: list[Iterator[None]]) -> None:
    """Each slot gets an owner that nobody takes it from. Former owners keep waking up."""
    for slot in SLOTS:
        owner = _assigned(world, slot)
        for _ in range(FINAL_STEPS):
            if not _goes_on(owner, 1):
                break
            if zombies and world.rng.random() < 0.2:
                _run_one(zombies, world.rng)


SEEDS = st.integers(0, 2**32)


@settings(max_examples=1000, deadline=None)
@given(SEEDS)
def test_every_request_ends_once_with_tokens_that_continue_each_other(seed: int) -> None:
    world = _disturbed(random.Random(seed))
    tape = read(world.responses)
    assert len(tape.ends) == 1
    assert isinstance(tape.ends[0], Rejected) or len(tape.tokens) == ANSWER_TOKENS
    assert [world.contexts[token] for token in tape.tokens] == [
        tuple(tape.tokens[:seq]) for seq in range(len(tape.tokens))
    ]


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
TOKENS = st.lists(st.integers(0, 9), max_size=2)
DELTA = st.builds(
    Delta, id=st.just("r"), origin=st.just("o"), attempt=ATTEMPTS, seq=SMALL, text=st.just(""), token_ids=TOKENS
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


@settings(max_examples=500, deadline=None)
@given(LOGS)
def test_nothing_is_accepted_after_the_end(log: list[Response]) -> None:
    reader = Reader()
    verdicts = [reader.feed(record) for record in log]
    after = verdicts[verdicts.index(Verdict.ENDED) + 1 :] if Verdict.ENDED in verdicts else []
    assert set(after) <= {Verdict.IGNORED}
    assert reader.has_ended is (Verdict.ENDED in verdicts)


@settings(max_examples=500, deadline=None)
@given(LOGS)
def test_next_seq_goes_back_only_at_a_restart(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        before = reader.next_seq
        verdict = reader.feed(record)
        assert reader.next_seq >= before if verdict is not Verdict.RESTARTED else reader.next_seq == 0


@settings(max_examples=500, deadline=None)
@given(LOGS)
def test_accepted_tokens_are_the_next_ones_of_the_current_attempt(log: list[Response]) -> None:
    reader = Reader()
    for record in log:
        current, before = reader.current, reader.next_seq
        if reader.feed(record) is Verdict.DELIVERED:
            assert isinstance(record, Delta | Progress)
            assert current is not None
            assert (record.attempt, record.seq) == (current.attempt, before)
            assert reader.next_seq == before + len(record.token_ids)


@settings(max_examples=500, deadline=None)
@given(LOGS)
def test_an_attempt_gives_way_to_a_higher_hop_or_a_later_term_only(log: list[Response]) -> None:
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


@settings(max_examples=500, deadline=None)
@given(LOGS)
def test_what_may_take_over_does(log: list[Response]) -> None:
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


@settings(max_examples=500, deadline=None)
@given(LOGS)
def test_the_end_is_the_current_attempts_or_a_processors_before_any(log: list[Response]) -> None:
    tape = Tape()
    for record in log:
        current, next_seq = tape.reader.current, tape.reader.next_seq
        if tape.feed(record) is Verdict.ENDED:
            assert isinstance(record, Completed | Rejected)
            by_processor = record.attempt is None and current is None
            by_attempt = current is not None and (record.attempt, record.next_seq) == (current.attempt, next_seq)
            assert by_processor or by_attempt
    assert len(tape.ends) <= 1


@settings(max_examples=500, deadline=None)
@given(LOGS, st.integers(0, 25))
def test_a_reader_that_joins_with_the_same_state_goes_on_the_same(log: list[Response], cut: int) -> None:
    whole, head, tail = Reader(), Reader(), Reader()
    verdicts = [whole.feed(record) for record in log]
    for record in log[:cut]:
        head.feed(record)
    tail.current, tail.next_seq, tail.has_ended = head.current, head.next_seq, head.has_ended
    assert [tail.feed(record) for record in log[cut:]] == verdicts[cut:]
