"""A request's story: one line of time and words for each thing that happened."""

from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.views.table import table
from pipeline.explain.facts import Sentence, Story
from pipeline.explain.phrases import plural, span

_STYLES: Final = {
    "request.rejected": "red",
    "request.expired": "red",
    "request.cancelled": "yellow",
    "request.finished": "bold",
    "lane.deferred": "dim",
    "lane.paused": "yellow",
}


def story_view(story: Story) -> RenderableType:
    """All of it: a heading, then the sentences by time."""
    produced = datetime.fromtimestamp(story.produced_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    heading = Text.assemble(
        (story.id, "bold"),
        f"  {story.model}, {story.latency_class}, tenant {story.tenant}  ",
        (f"{produced} UTC", "dim"),
    )
    ending = story.outcome or "has not ended"
    many = f", {plural(story.attempts, 'attempt')}" if story.attempts > 1 else ""
    heading.append(f"  {ending}{many}", style="green" if story.outcome == "completed" else "yellow")
    return Group(heading, _lines(story.sentences))


def _lines(sentences: list[Sentence]) -> Table:
    view = table()
    view.show_header = False
    view.add_column("after", justify="right", no_wrap=True, style="dim")
    view.add_column("what")
    for sentence in sentences:
        after = "" if sentence.after_ms is None else f"+{span(sentence.after_ms / 1000)}"
        view.add_row(after, Text(sentence.text, style=_STYLES.get(sentence.kind, "")))
    return view
