"""Laws of sharing slots between the workers of a deployment."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.assignment import Holding, spread

COUNTS = st.integers(0, 24)
MEMBERS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(
        Holding, generation=st.integers(-1, 3), jobs=st.dictionaries(st.integers(0, 23), st.integers(0, 50), max_size=8)
    ),
    min_size=1,
    max_size=6,
)


@given(count=COUNTS, members=MEMBERS)
def test_every_slot_has_exactly_one_owner_and_shares_are_equal(count: int, members: dict[str, Holding]) -> None:
    shares = spread(range(count), members)
    assert sorted(slot for share in shares.values() for slot in share) == list(range(count))
    sizes = [len(share) for share in shares.values()]
    assert shares.keys() == members.keys()
    assert max(sizes) - min(sizes) <= 1


@given(count=COUNTS, members=MEMBERS)
def test_what_was_shared_once_stays(count: int, members: dict[str, Holding]) -> None:
    shares = spread(range(count), members)
    held = {m: Holding(generation=9, jobs=dict.fromkeys(share, 0)) for m, share in shares.items()}
    assert spread(range(count), held) == shares


@given(count=COUNTS, members=MEMBERS)
def test_a_member_that_joins_takes_its_share_and_moves_nothing_else(count: int, members: dict[str, Holding]) -> None:
    shares = spread(range(count), members)
    held = {m: Holding(generation=9, jobs=dict.fromkeys(share, 0)) for m, share in shares.items()}
    after = spread(range(count), {**held, "newcomer": Holding()})
    moved = {slot for member, share in shares.items() for slot in share if slot not in after[member]}
    assert moved == set(after["newcomer"])


@given(count=COUNTS, members=MEMBERS)
def test_a_member_that_leaves_moves_only_its_own_slots(count: int, members: dict[str, Holding]) -> None:
    shares = spread(range(count), {**members, "leaver": Holding()})
    held = {m: Holding(generation=9, jobs=dict.fromkeys(share, 0)) for m, share in shares.items() if m != "leaver"}
    after = spread(range(count), held)
    assert all(set(share) <= set(after[member]) for member, share in shares.items() if member != "leaver")
