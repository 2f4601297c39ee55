"""Which records of reply partitions are wanted by whom, and from which offset on. Pure.

All followers of a partition share one reading position. One that begins further back takes the position back with it;
the others are not fed again what they have seen. When it leaves, the position returns to where the others are.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from topics.dispatches import Primary


class Place(NamedTuple):
    """A partition of a response topic."""

    topic: str
    partition: int


class Gap(Enum):
    """What a follower is told instead of records."""

    CUT = "cut"
    """The log has been cut off (retention) behind the place where its reading would begin, or go on."""


class Follower(Struct, kw_only=True):
    """Somebody who wants the records of a request; `next_offset` is unknown until it was looked up."""

    serial: int
    request: Primary
    place: Place
    key: bytes
    next_offset: int | None = None


class Watch:
    """Followers by partition, and the position of each partition."""

    def __init__(self) -> None:
        self._followers: dict[int, Follower] = {}
        self._by_key: dict[tuple[Place, bytes], list[Follower]] = {}
        self.positions: dict[Place, int] = {}
        """Next offset to read of each partition that has located followers."""

    def __len__(self) -> int:
        return len(self._followers)

    def follow(self, serial: int, request: Primary) -> None:
        """Want the records of a request, from its beginning; again, if it was wanted before."""
        self.unfollow(serial)
        place = Place(request.reply.topic, request.reply.partition)
        follower = Follower(serial=serial, request=request, place=place, key=request.id.encode())
        self._followers[serial] = follower
        self._by_key.setdefault((place, follower.key), []).append(follower)

    def unfollow(self, serial: int) -> None:
        """Want nothing more. Idempotent."""
        follower = self._followers.pop(serial, None)
        if follower is None:
            return
        same = self._by_key[follower.place, follower.key]
        same.remove(follower)
        if not same:
            del self._by_key[follower.place, follower.key]

    def fresh(self) -> list[Follower]:
        """Followers whose beginning has to be looked up: the first offset at or after their `since_ms`."""
        return [follower for follower in self._followers.values() if follower.next_offset is None]

    def locate(self, offsets: Mapping[int, int]) -> None:
        """Followers begin at these offsets, by serial number. Those who are no longer there are left out."""
        begun = [(follower, offsets[serial]) for serial, follower in self._followers.items() if serial in offsets]
        first: dict[Place, int] = {}
        for follower, offset in begun:
            first[follower.place] = min(offset, first.get(follower.place, offset))
        for follower in self._followers.values():
            if follower.next_offset is not None and follower.place in first:
                follower.next_offset = max(follower.next_offset, self.positions[follower.place])
        for follower, offset in begun:
            follower.next_offset = offset
        for place, offset in first.items():
            self.positions[place] = min(offset, self.positions.get(place, offset))

    def settle(self) -> None:
        """Leave out what nobody wants, now that some have left: partitions, and offsets that all others have seen."""
        needed: dict[Place, int] = {}
        for follower in self._followers.values():
            if follower.next_offset is not None:
                place = follower.place
                needed[place] = min(follower.next_offset, needed.get(place, follower.next_offset))
        self.positions = {place: max(offset, self.positions[place]) for place, offset in needed.items()}

    def skipped(self, place: Place, offset: int) -> list[Follower]:
        """The next record to be had lies at `offset`, beyond the position: who misses those between."""
        if offset <= self.positions.get(place, offset):
            return []
        followers = [f for f in self._followers.values() if f.place == place and f.next_offset is not None]
        return [f for f in followers if f.next_offset is not None and f.next_offset < offset]

    def read(self, place: Place, offset: int, key: bytes | None) -> list[Follower]:
        """A record was read: who wants it. Records below the position are nobody's."""
        if offset < self.positions.get(place, offset + 1):
            return []
        self.positions[place] = offset + 1
        if key is None or (place, key) not in self._by_key:
            return []
        wanted = [f for f in self._by_key[place, key] if f.next_offset is not None and f.next_offset <= offset]
        for follower in wanted:
            follower.next_offset = offset + 1
        return wanted
