"""The product's core and committer as the model runs them: one event may not want endlessly much, and no loop runs."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from pipeline.worker.core import WorkerCore
from pipeline.worker.effects import Effect
from tests.properties.log_model import Commit, Restless, Violation
from topics.trace_rows import Row

MOST_EFFECTS: Final = 2_000
"""Of one event: a core that wants more does not end by itself."""


class _Effects(list[Effect]):
    def append(self, effect: Effect) -> None:
        if len(self) >= MOST_EFFECTS:
            raise Restless(f"one event has more than {MOST_EFFECTS} effects, the last: {effect!r}"[:300])
        super().append(effect)


class BoundedCore(WorkerCore):
    """The product's, with an end to what it may want at once."""

    def _done(self) -> list[Effect]:
        effects = super()._done()
        self._life.effects = _Effects()
        return effects


class Trace:
    """Rows of the account: how many there are, and how many the broker has."""

    def __init__(self) -> None:
        self.delivered = 0
        self.mark = 0

    def add(self, row: Row) -> int:
        self.mark += 1
        return self.mark


class Membership:
    """What the committer needs of its group."""

    def __init__(self, try_commit: Callable[[Mapping[int, Commit], int], bool]) -> None:
        self._try_commit = try_commit

    async def commit(self, offsets: Mapping[int, Commit], *, generation: int) -> bool:
        return self._try_commit(offsets, generation)


def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise Violation("a commit waits for something that the model does not have")
