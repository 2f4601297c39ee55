"""Where dispatched requests are, and which ended lately. Bounded: the oldest are forgotten first.

What is forgotten costs little: a cancellation of it is kept as if it had come before its request.
"""

from typing import Final

from msgspec import Struct

from processors.queueing.ticket import Key

LIMIT: Final = 100_000


class Place(Struct, kw_only=True):
    """The slot that a request was put into. `prompt_tokens` is the estimate that its tenant was charged for."""

    origin: str
    key: Key
    deployment: str
    slot: int
    latency_class: str = ""
    prompt_tokens: int = 0
    is_cancelled: bool = False
    is_copy: bool = False
    """It gets the answer of another request, and takes no room."""


class Placements:
    """Dispatched requests by origin and by identity.

    Args:
        limit: how many dispatched ones are known, and how many ended ones.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._by_origin: dict[str, Place] = {}
        self._by_key: dict[Key, list[Place]] = {}
        self._ended: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._by_origin)

    def put(self, place: Place) -> None:
        """A request was dispatched; a later dispatch of it replaces an earlier one."""
        self.remove(place.origin)
        self._by_origin[place.origin] = place
        self._by_key.setdefault(place.key, []).append(place)
        if len(self._by_origin) > self._limit:
            self.remove(next(iter(self._by_origin)))

    def remove(self, origin: str) -> Place | None:
        """A request is where it was no longer; None where that was not known."""
        place = self._by_origin.pop(origin, None)
        if place is None:
            return None
        same = self._by_key[place.key]
        same.remove(place)
        if not same:
            del self._by_key[place.key]
        return place

    def of(self, key: Key) -> tuple[Place, ...]:
        """Where the requests of one identity are."""
        return tuple(self._by_key.get(key, ()))

    def end(self, key: Key) -> None:
        """A request of this identity has ended: a cancellation that comes later is too late, not too early."""
        self._ended.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > self._limit:
            del self._ended[next(iter(self._ended))]

    def renew(self, key: Key) -> None:
        """A request of this identity has come: an earlier one of it does not matter any more."""
        self._ended.pop(key, None)

    def has_ended(self, key: Key) -> bool:
        """Whether the newest request of this identity is known to have ended."""
        return key in self._ended
