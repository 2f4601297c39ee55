"""Which beginnings of prompts each worker has computed, as far as can be told from here.

A worker says what its engine has cached; what was sent to it since is added, because it will be cached before the next
request gets there. A digest that is full leaves things out: then the last prompts that were sent there count as well.
"""

import itertools
from collections.abc import Iterable
from typing import Final

from processors.routing.worker import Worker
from topics.fleet import MAX_PREFIXES
from topics.prefixes import MAX_BLOCKS

MIRRORED_PROMPTS: Final = 64
"""Prompts sent to a worker that are remembered."""
NOTED_PREFIXES: Final = 100_000
"""Hashes of all workers together that are remembered, to tell quickly that nobody knows a prompt."""
ON_THE_WAY_S: Final = 1.0
"""A prompt that was sent less than this before a digest need not be in it."""


class _Mirror:
    """Of one worker. `known` is read, the others are what it is made of."""

    __slots__ = ("digest", "known", "run", "sent")

    def __init__(self, run: str) -> None:
        self.run = run
        self.sent: dict[int, float] = {}
        self.digest: list[int] = []
        self.known = self.sent


class PrefixMirrors:
    """Of all workers; bounded by those that exist."""

    def __init__(self) -> None:
        self._mirrors: dict[str, _Mirror] = {}
        self._anywhere: dict[int, None] = {}

    def is_known(self, prefixes: tuple[int, ...]) -> bool:
        """Whether some worker may have computed a beginning of a prompt: most prompts are like no other."""
        anywhere = self._anywhere
        return any(prefix in anywhere for prefix in prefixes)

    def of(self, worker: str) -> dict[int, float]:
        """Hashes that a worker has cached, as keys."""
        mirror = self._mirrors.get(worker)
        return mirror.known if mirror else {}

    def sent(self, worker: Worker, prefixes: tuple[int, ...], *, now_s: float) -> None:
        """A prompt is on its way to a worker."""
        mirror = self._mirror(worker)
        for prefix in prefixes:
            mirror.sent.pop(prefix, None)
            mirror.sent[prefix] = mirror.known[prefix] = now_s
        excess = len(mirror.sent) - MIRRORED_PROMPTS * MAX_BLOCKS
        if excess > 0:
            for prefix in list(itertools.islice(mirror.sent, excess)):
                del mirror.sent[prefix]
                mirror.known.pop(prefix, None)
        self._note(prefixes)

    def observe(self, worker: Worker) -> None:
        """A worker's newest heartbeat."""
        digest = worker.heartbeat.prefixes
        mirror = self._mirror(worker)
        if digest == mirror.digest:
            return
        mirror.digest = digest
        if 0 < len(digest) < MAX_PREFIXES:
            oldest_s = worker.at_s - ON_THE_WAY_S
            mirror.sent = {prefix: at_s for prefix, at_s in mirror.sent.items() if at_s >= oldest_s}
        mirror.known = {**mirror.sent, **dict.fromkeys(digest, worker.at_s)} if digest else mirror.sent
        self._note(digest)

    def retain(self, workers: dict[str, Worker]) -> None:
        """Forget the workers that are gone."""
        if len(self._mirrors) > len(workers):
            self._mirrors = {name: mirror for name, mirror in self._mirrors.items() if name in workers}

    def _note(self, prefixes: Iterable[int]) -> None:
        self._anywhere.update(dict.fromkeys(prefixes))
        excess = len(self._anywhere) - NOTED_PREFIXES
        if excess > 0:
            for prefix in list(itertools.islice(self._anywhere, excess)):
                del self._anywhere[prefix]

    def _mirror(self, worker: Worker) -> _Mirror:
        mirror = self._mirrors.get(worker.name)
        if mirror is None or mirror.run != worker.heartbeat.run:
            mirror = self._mirrors[worker.name] = _Mirror(worker.heartbeat.run)
        return mirror
