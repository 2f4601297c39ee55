import asyncio

import pytest

from pipeline.jobs.lines import Line
from pipeline.jobs.results import ResultError, ResultLine
from pipeline.jobs.run import Tally, run_lines
from topics.errors import TransportError

LINES = [Line(number=i, id=f"q{i}", body={}) for i in range(20)]


class Engine:
    """Answers after a turn of the loop and remembers how many were in flight at once."""

    def __init__(self, *, broken: str = "") -> None:
        self.broken = broken
        self.running = 0
        self.most = 0

    async def answer(self, line: Line) -> ResultLine:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if line.id == self.broken:
            raise TransportError("no broker")
        return ResultLine(id="", custom_id=line.id)


@pytest.mark.parametrize("concurrency", [1, 7, 100])
async def test_every_line_is_answered_once_and_never_too_many_at_a_time(concurrency: int) -> None:
    engine = Engine()
    written: list[str] = []

    await run_lines(LINES, engine.answer, lambda result: written.append(result.custom_id), concurrency=concurrency)

    assert sorted(written) == sorted(line.id for line in LINES)
    assert engine.most == min(concurrency, len(LINES))


async def test_a_broker_that_is_away_ends_the_run_and_keeps_what_was_written() -> None:
    engine = Engine(broken="q10")
    written: list[str] = []

    with pytest.raises(TransportError, match="no broker"):
        await run_lines(LINES, engine.answer, lambda result: written.append(result.custom_id), concurrency=1)

    assert written == [line.id for line in LINES[:10]]


def test_a_tally_counts_answers_errors_and_tokens() -> None:
    tally = Tally(total=3, skipped=1)

    tally.count(ResultLine(id="", custom_id="a"))
    tally.count(ResultLine(id="", custom_id="b", error=ResultError(code="c", message="m")))

    assert (tally.completed, tally.failed, tally.tokens) == (1, 1, 0)
