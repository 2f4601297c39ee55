"""Answers by fingerprint: the least recently used are dropped when there are too many bytes, any when it is too old."""

from collections import OrderedDict
from typing import Final

from processors.cache.collecting import Collecting, Kept
from processors.queueing.ticket import Ticket
from topics.responses import Response

CacheKey = tuple[str, str, bytes]
"""Scope, deployment, fingerprint."""

MAX_ENTRIES: Final = 100_000
MAX_EXPECTED: Final = 10_000
"""Answers that are collected at a time; the oldest is given up for another."""
LARGEST: Final = 16
"""An answer larger than this part of the cache is not kept."""


class Cache:
    """Answers of deterministic requests.

    Args:
        max_bytes: of all answers together; 0 switches everything off.
        max_age_s: how long an answer is served.
    """

    def __init__(self, *, max_bytes: int, max_age_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._kept: OrderedDict[CacheKey, tuple[Kept, int]] = OrderedDict()
        self._expected: dict[str, tuple[CacheKey, bytes, Collecting]] = {}
        self._ids: dict[bytes | None, int] = {}
        self.bytes = 0
        """What the answers take, about."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def expected(self) -> int:
        """Answers that are collected at present."""
        return len(self._expected)

    def wants(self, key: bytes | None) -> bool:
        """Whether a response record of this key may belong to an answer that is collected."""
        return key in self._ids

    def get(self, key: CacheKey, *, now_s: float) -> Kept | None:
        """The answer to what is asked, if there is one."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0].kept_at_s + self._max_age_s <= now_s:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[0]

    def expect(self, ticket: Ticket, key: CacheKey) -> None:
        """The answer to this request is worth keeping."""
        if not self._max_bytes:
            return
        self._give_up(ticket.origin)
        request_key = ticket.id.encode()
        self._expected[ticket.origin] = (key, request_key, Collecting())
        self._ids[request_key] = self._ids.get(request_key, 0) + 1
        if len(self._expected) > MAX_EXPECTED:
            self._give_up(next(iter(self._expected)))

    def on_response(self, record: Response, *, now_s: float) -> None:
        """The next record of a response topic, anybody's; those of one request in log order."""
        expected = self._expected.get(record.origin)
        if expected is None:
            return
        key, _, collecting = expected
        kept = collecting.feed(record, now_s=now_s)
        if kept is not None:
            self._keep(key, kept)
        if collecting.is_useless or collecting.size > self._max_bytes // LARGEST:
            self._give_up(record.origin)

    def _keep(self, key: CacheKey, kept: Kept) -> None:
        size = kept.bytes
        if size > self._max_bytes // LARGEST:
            return
        self._drop(key)
        self._kept[key] = (kept, size)
        self.bytes += size
        while self.bytes > self._max_bytes or len(self._kept) > MAX_ENTRIES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: CacheKey) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.bytes -= found[1]

    def _give_up(self, origin: str) -> None:
        expected = self._expected.pop(origin, None)
        if expected is None:
            return
        request_key = expected[1]
        self._ids[request_key] -= 1
        if not self._ids[request_key]:
            del self._ids[request_key]
