"""What the demo shows while requests run: one row per lane. The state is plain counting; drawing is separate."""

from dataclasses import dataclass, field

from rich.table import Table

from pipeline.cli.views.table import columns, table


@dataclass(slots=True)
class LaneCounts:
    """A lane as its clients see it: sent, answering, answered."""

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    tokens: int = 0
    first_token_s: list[float] = field(default_factory=list)

    def on_sent(self) -> None:
        """A request was accepted by the broker."""
        self.queued += 1

    def on_first_token(self, after_s: float) -> None:
        """Its answer began, so many seconds after it was sent."""
        self.queued -= 1
        self.running += 1
        self.first_token_s.append(after_s)

    def on_tokens(self, count: int) -> None:
        """It went on."""
        self.tokens += count

    def on_end(self, *, had_begun: bool, completed: bool) -> None:
        """It ended, completed or otherwise."""
        if had_begun:
            self.running -= 1
        else:
            self.queued -= 1
        self.done += completed
        self.failed += not completed


class Board:
    """The lanes of the demo, and the table of them."""

    def __init__(self, classes: tuple[str, ...], *, title: str) -> None:
        self._title = title
        self.lanes = {name: LaneCounts() for name in classes}

    def table(self, elapsed_s: float) -> Table:
        """The table at a moment, `elapsed_s` seconds after the first request."""
        view = table(f"{self._title} · {elapsed_s:4.1f} s")
        columns(view, left=["lane"], right=["queued", "running", "done", "other", "tokens/s", "median TTFT"])
        for name, lane in self.lanes.items():
            view.add_row(name, *_cells(lane, elapsed_s))
        return view


def _cells(lane: LaneCounts, elapsed_s: float) -> list[str]:
    firsts = sorted(lane.first_token_s)
    median = f"{firsts[len(firsts) // 2] * 1000:,.0f} ms" if firsts else "-"
    rate = lane.tokens / elapsed_s if elapsed_s > 0 else 0.0
    return [str(lane.queued), str(lane.running), str(lane.done), str(lane.failed), f"{rate:,.1f}", median]
