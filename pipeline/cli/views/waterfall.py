"""The story of a request in a terminal: a line per stretch of time, bars aligned on one axis."""

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from pipeline.report import numbers
from pipeline.report.request_page import event_words, when
from pipeline.report.story import Story, Stretch, Track

WIDTH: Final = 100
NAMES: Final = 13
TIMES: Final = 10
BARS: Final = WIDTH - NAMES - 2 * TIMES - 3
_STYLES: Final = {
    "c1": "blue",
    "c2": "red",
    "c3": "green",
    "c4": "magenta",
    "c5": "yellow",
    "c6": "cyan",
    "c7": "bright_black",
}


def story_view(story: Story, *, width: int = WIDTH) -> RenderableType:
    """Head, attempts and events. `width` is cut to 100 columns, which a bar does not profit from exceeding."""
    bars = max(min(width, WIDTH) - (WIDTH - BARS), 10)
    lines: list[RenderableType] = [_head(story), Text()]
    for track in story.tracks:
        lines.append(_track(track))
        lines += [_line(stretch, story.whole_us, bars) for stretch in track.stretches]
        lines.append(Text())
    if story.events:
        lines.append(Text("events", style="dim"))
        lines += [_event(story, index) for index in range(len(story.events))]
    return Group(*lines)


def bar(begins: int, ends: int, whole: int, width: int) -> tuple[int, int]:
    """First cell and number of cells of a stretch on an axis of `width` cells; at least one."""
    first = min(begins * width // whole, width - 1)
    last = max(-(-ends * width // whole), first + 1)
    return first, min(last, width) - first


def _head(story: Story) -> Text:
    first, last = story.first, story.final or story.first
    outcome = last.outcome if story.final else "no end yet"
    facts = [
        f"{first.model} · {first.latency_class}" + (f" · {first.tenant}" if first.tenant else ""),
        f"{last.tokens_in:,} tokens in, {last.answer_tokens:,} out",
        f"GPU {numbers.duration_ms(story.gpu_ns / 1e6)}",
    ]
    return Text.assemble(
        (story.request_id, "bold"),
        f"  {outcome}",
        (f" ({last.error_code})" if last.error_code else "", ""),
        f" after {numbers.duration_ms(story.whole_us / 1000)}\n",
        " | ".join(facts),
        (f"\n{first.origin}, produced {when(first.produced_us)} UTC", "dim"),
    )


def _track(track: Track) -> Text:
    outcome = f"{track.outcome} ✓" if track.is_accepted else track.outcome
    return Text.assemble((track.name, "bold"), (f"  {track.place}" if track.place else "", "dim"), f"  {outcome}")


def _line(stretch: Stretch, whole_us: int, width: int) -> Text:
    first, cells = bar(stretch.begins_us, stretch.ends_us, whole_us, width)
    length = numbers.duration_ms(stretch.length_ms)
    at = numbers.duration_ms(stretch.ends_us / 1000)
    return Text.assemble(
        f"{stretch.station:<{NAMES}}{length:>{TIMES}}",
        (f"{at:>{TIMES}}   ", "dim"),
        " " * first,
        ("█" * cells, _STYLES[stretch.tone]),
    )


def _event(story: Story, index: int) -> Text:
    event = story.events[index]
    at = numbers.duration_ms(max(event.at_us - story.first.produced_us, 0) / 1000)
    return Text.assemble(
        (f"{at:>{TIMES}}  ", "dim"),
        f"{event.kind:<20}",
        f"#{story.number_of(event.attempt)}  " if event.attempt else "",
        (f"{event.worker or event.process}  ", "dim"),
        event_words(event),
    )
