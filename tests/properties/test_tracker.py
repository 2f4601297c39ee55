"""Laws of the tracker: what is committed says exactly what is finished, whatever the order and wherever it restarts."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.tracker import Tracker, decode, encode

BASES = st.integers(0, 10_000)
OFFSETS = st.sets(st.integers(1, 400), max_size=120)


@given(BASES, OFFSETS)
def test_metadata_says_what_was_finished(base: int, ahead: set[int]) -> None:
    done = {base + n for n in ahead}
    high, decoded = decode(base, encode(base, done))
    assert decoded == done
    assert high == max(done, default=base - 1) + 1


@given(BASES, st.text())
def test_unreadable_metadata_repeats_work_and_loses_none(base: int, metadata: str) -> None:
    tracker = Tracker(base, "m1:" + metadata)
    assert tracker.base == base


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=60),
    st.lists(st.integers(0, 59), max_size=60),
    st.integers(0, 60),
)
def test_a_restart_admits_exactly_what_is_unfinished(gaps: list[int], order: list[int], restart_at: int) -> None:
    """Records lie at growing offsets with holes; some finish, in any order; a successor reads from the commit on."""
    offsets = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    tracker = Tracker(1)
    assert all(tracker.admit(offset) for offset in offsets)
    finished = [offsets[i] for i in order[:restart_at] if i < len(offsets)]
    for offset in finished:
        tracker.finish(offset)
    base, metadata = tracker.commit()
    successor = Tracker(base, metadata)
    again = [offset for offset in offsets if offset >= base and successor.admit(offset)]
    assert again == [offset for offset in offsets if offset not in finished]


@given(st.permutations(range(40)))
def test_the_base_is_the_first_unfinished_offset(order: list[int]) -> None:
    tracker = Tracker(0)
    left = set(range(40))
    assert all(tracker.admit(offset) for offset in range(40))
    for offset in order:
        tracker.finish(offset)
        left.remove(offset)
        assert tracker.base == min(left, default=40)
    assert tracker.commit() == (40, "")
