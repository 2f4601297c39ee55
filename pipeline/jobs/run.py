"""Running the lines of a job, so many at a time. How a line is answered and where results go is the caller's affair."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from pipeline.jobs.lines import Line
from pipeline.jobs.results import ResultLine
from topics.errors import TransportError


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run has done so far: lines, and tokens of their answers. `skipped` were settled before it began."""

    total: int
    skipped: int = 0
    completed: int = 0
    failed: int = 0
    tokens: int = 0

    def count(self, result: ResultLine) -> None:
        """One more result."""
        if result.error is None:
            self.completed += 1
        else:
            self.failed += 1
        self.tokens += result.completion_tokens


async def run_lines(
    lines: Iterable[Line],
    answer: Callable[[Line], Awaitable[ResultLine]],
    write: Callable[[ResultLine], None],
    *,
    concurrency: int,
) -> None:
    """Answer every line and write its result as soon as it is there, in no particular order.

    Args:
        lines: taken one by one as there is room.
        answer: the result of one line; also where that is an error.
        write: called once per line.
        concurrency: lines in flight at most.

    Raises:
        TransportError: the broker could not be reached. Lines in flight have no result, and a further run answers them.
    """
    waiting = iter(lines)

    async def work() -> None:
        for line in waiting:
            write(await answer(line))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except* TransportError as errors:
        raise errors.exceptions[0] from None
