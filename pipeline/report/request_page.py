"""The page about one request id: for each request that has it a waterfall, the facts, and the events. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.report import numbers
from pipeline.report.markup import Markup, element
from pipeline.report.page import Column, document, figure, section, table, tiles
from pipeline.report.plots.waterfall import waterfall
from pipeline.report.story import Attempt, Event, Story


def request_page(request_id: str, stories: Sequence[Story]) -> str:
    """One HTML page about all requests with an id."""
    count = f"{len(stories)} requests have" if len(stories) > 1 else "One request has"
    return document(
        f"Request {request_id}",
        element(
            "header",
            element("h1", f"Request {request_id}"),
            element("p", f"{count} this id. Times are UTC.", class_="quiet"),
        ),
        element("main", *(_story(story, index) for index, story in enumerate(stories))),
    )


def when(at_us: int) -> str:
    """A time with its date, to the millisecond."""
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def event_words(event: Event) -> str:
    """What an event says beside its kind."""
    said = (
        event.outcome,
        event.error_code,
        event.reason if event.reason != event.outcome else "",
        f"batch of {event.batch_size}" if event.batch_size else "",
        f"{event.tokens_out} tokens" if event.tokens_out else "",
        f"{event.queue_depth} queued" if event.queue_depth else "",
        event.detail,
    )
    return " · ".join(filter(None, said))


def _story(story: Story, index: int) -> Markup:
    first = story.first
    svg = waterfall(
        f"waterfall-{index}",
        f"Waterfall of request {story.request_id}",
        story.tracks,
        whole_us=story.whole_us,
        deadline_us=first.deadline_us,
    )
    return section(
        f"{first.model} · {first.latency_class}" + (f" · {first.tenant}" if first.tenant else ""),
        f"{first.origin}, produced {when(first.produced_us)}",
        _tiles(story),
        figure("Where the time went", "after the request's record; ✓ is the end that readers accept", svg, wide=True),
        _events(story),
    )


def _tiles(story: Story) -> Markup:
    last = story.final or story.first
    reused = f"{last.tokens_cached:,} from cache" if last.tokens_cached else ""
    return tiles(
        [
            ("Outcome", last.outcome if story.final else "no end yet", last.error_code),
            (
                "Whole",
                numbers.duration_ms(last.finished_us / 1000),
                f"{len(story.tracks)} attempt{'s' if len(story.tracks) > 1 else ''}",
            ),
            ("First token", numbers.duration_ms(last.answer_first_us / 1000) if last.answer_first_us else "–", ""),
            ("Tokens out", numbers.whole(last.answer_tokens), _continued(last)),
            ("Prompt tokens", numbers.whole(last.tokens_in), reused),
            ("GPU time", numbers.duration_ms(story.gpu_ns / 1e6), f"{story.gpu_ns:,} ns over all attempts"),
        ]
    )


def _continued(last: Attempt) -> str:
    return f"{last.continued:,} by attempts before" if last.continued else ""


def _events(story: Story) -> Markup:
    columns = (
        Column(head="after the record"),
        *(Column(head=head, kind="name") for head in ("event", "by", "attempt")),
        Column(head="what it says", kind="long"),
    )
    rows = [
        (
            numbers.duration_ms((event.at_us - story.first.produced_us) / 1000),
            event.kind,
            event.worker or event.process,
            f"{story.number_of(event.attempt)}, {event.attempt}" if event.attempt else "–",
            event_words(event),
        )
        for event in story.events
    ]
    return table("Events", "Kept for a week; told by the clocks of several machines.", columns, rows)
