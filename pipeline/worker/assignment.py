"""Which member of the group gets which slots: everyone keeps what it has, as far as equal shares allow.

Any other way would take slots, and with them running sequences, from workers that nothing happened to whenever one
joins or leaves. A slot that has to move is the one with the least work. aiokafka's own sticky assignor keeps its
memory in the class, one for all consumers of a process, and knows nothing of work.

aiokafka asks every consumer with exactly one assignor: with two it joins the group twice in each rebalance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from msgspec import Struct

_VERSION: Final = 0


class Holding(Struct, frozen=True):
    """What a member has when it joins: dispatches at hand by slot, as assigned in a generation of the group."""

    generation: int = -1
    jobs: dict[int, int] = {}


NOTHING: Final = Holding()


def spread(slots: Sequence[int], members: Mapping[str, Holding]) -> dict[str, list[int]]:
    """The slots of each member, ascending. Shares differ by one at most, and as few slots move as that allows.

    Args:
        slots: all of them.
        members: at least one, by id. A slot that several believe to have is the one's with the newest generation.
    """
    kept = _kept(slots, members)
    most_first = sorted(members, key=lambda member: (-len(kept[member]), member))
    low, extra = divmod(len(slots), len(members))
    quota = {member: low + (index < extra) for index, member in enumerate(most_first)}
    shares = {member: _busiest(kept[member], members[member].jobs)[: quota[member]] for member in most_first}
    given = {slot for share in shares.values() for slot in share}
    free = iter([slot for slot in slots if slot not in given])
    for member, share in shares.items():
        share += [next(free) for _ in range(quota[member] - len(share))]
    return {member: sorted(share) for member, share in shares.items()}


def _kept(slots: Iterable[int], members: Mapping[str, Holding]) -> dict[str, list[int]]:
    """Slots by the member that had them last."""
    kept: dict[str, list[int]] = {member: [] for member in members}
    for slot in slots:
        claimants = [member for member in sorted(members) if slot in members[member].jobs]
        if claimants:
            kept[max(claimants, key=lambda member: members[member].generation)].append(slot)
    return kept


def _busiest(slots: Iterable[int], jobs: Mapping[int, int]) -> list[int]:
    return sorted(slots, key=lambda slot: (-jobs[slot], slot))


class SlotAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """`spread` as aiokafka asks for it: what a member has travels with its request to join."""

    name = "millrace-slots"

    def __init__(self) -> None:
        self.holding: Callable[[], Holding] = lambda: NOTHING
        """What this member has; set by whoever knows."""

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What is sent with the request to join."""
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), msgspec.json.encode(self.holding()))

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The shares of all members, decided by one of them."""
        (topic,) = {topic for member in members.values() for topic in member.subscription}
        slots = sorted(cluster.partitions_for_topic(topic) or ())
        shares = spread(slots, {member: _holding(said.user_data) for member, said in members.items()})
        return {
            member: ConsumerProtocolMemberAssignment(_VERSION, [(topic, share)], b"")
            for member, share in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Nothing is remembered here."""


def _holding(said: bytes | None) -> Holding:
    """What a member said; one that cannot be read gets its share of what the others leave."""
    try:
        return msgspec.json.decode(said or b"", type=Holding)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOTHING
