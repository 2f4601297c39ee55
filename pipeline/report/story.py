"""The story of a request: its attempts, and the stretches of time between the stations that each reached. Pure.

Stations are told by several clocks; a stretch that would end before it begins is left out. What a later attempt shares
with the one before (it was admitted once) is drawn once. An attempt whose worker died tells no row: it is known by its
event, and lasts until the next one starts.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec import Struct

from topics import names

STATIONS: Final = (
    ("admitted", "admitted_us", "in Kafka, read and checked", "c7"),
    ("batched", "batched_us", "queued until a worker had room", "c5"),
    ("dispatched", "dispatched_us", "written to the worker's slot", "c6"),
    ("started", "started_us", "read by the worker", "c6"),
    ("first token", "first_us", "prompt computed", "c3"),
    ("last token", "last_us", "tokens made", "c1"),
    ("finished", "finished_us", "end acknowledged by the broker", "c4"),
)
"""Name, field, what the time before it went into, colour."""
LOST: Final = "lost"
SHARED: Final = frozenset({"admitted", "batched", "dispatched", "first token"})


class Attempt(Struct, kw_only=True, frozen=True):
    """A row of `trace_attempts`."""

    lane_topic: str
    lane_partition: int
    lane_offset: int
    tenant: str
    model: str
    latency_class: str
    produced_us: int
    attempt: str
    hop: int
    mode: str
    deployment: str
    worker: str
    batch_id: str
    batch_size: int
    admitted_us: int
    batched_us: int
    dispatched_us: int
    started_us: int
    first_us: int
    last_us: int
    finished_us: int
    deadline_us: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    outcome: str
    finish_reason: str
    error_code: str
    reason: str
    gpu_ns: int
    is_accepted: bool
    continued: int = 0
    continued_first_us: int = 0
    continued_last_us: int = 0

    @property
    def origin(self) -> str:
        """Where the request lies on its lane."""
        return names.origin_of(self.lane_topic, self.lane_partition, self.lane_offset)

    @property
    def answer_tokens(self) -> int:
        """Tokens of the answer up to the end of the attempt, whoever generated them."""
        return self.continued + self.tokens_out

    @property
    def answer_first_us(self) -> int:
        """When the answer's first token came, 0 if none did."""
        return self.continued_first_us or self.first_us


class Event(Struct, kw_only=True, frozen=True):
    """A row of `trace_events`; `at_us` is since the epoch."""

    at_us: int
    kind: str
    component: str
    process: str
    worker: str
    origin: str
    attempt: str
    batch_size: int
    tokens_out: int
    queue_depth: int
    outcome: str
    error_code: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The time before a station, in microseconds after the request's record. `tone` is a CSS class."""

    station: str
    meaning: str
    begins_us: int
    ends_us: int
    tone: str

    @property
    def length_ms(self) -> float:
        """Milliseconds."""
        return (self.ends_us - self.begins_us) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One attempt, or what a processor did where nobody began one: words about it, and its stretches in order.

    Attempts are numbered from 1 in their order; a processor's part has 0 and no `attempt`.
    """

    number: int
    attempt: str
    about: str
    place: str
    outcome: str
    is_accepted: bool
    stretches: tuple[Stretch, ...]

    @property
    def name(self) -> str:
        """Number, id and what is said about it."""
        if not self.number:
            return "in the processor"
        return ", ".join(filter(None, (f"attempt {self.number}", self.attempt, self.about)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One request. `whole_us` is the time from its record to the last thing known; `final` is its accepted end."""

    request_id: str
    first: Attempt
    final: Attempt | None
    tracks: tuple[Track, ...]
    events: tuple[Event, ...]
    gpu_ns: int

    @property
    def whole_us(self) -> int:
        """At least 1."""
        ends = [stretch.ends_us for track in self.tracks for stretch in track.stretches]
        told = [event.at_us - self.first.produced_us for event in self.events]
        return max([1, *ends, *told])

    def number_of(self, attempt: str) -> int:
        """Which attempt it is, from 1; 0 where none has this id."""
        return next((track.number for track in self.tracks if track.attempt == attempt), 0)


def stories(request_id: str, attempts: Sequence[Attempt], events: Sequence[Event]) -> list[Story]:
    """The requests that have this id, in the order in which they were produced. Empty where no row tells of one."""
    by_origin: dict[tuple[str, int], list[Attempt]] = {}
    for attempt in attempts:
        by_origin.setdefault((attempt.origin, attempt.produced_us), []).append(attempt)
    return [
        _story(request_id, rows, [event for event in events if event.origin == origin])
        for (origin, _), rows in by_origin.items()
    ]


def _story(request_id: str, told: list[Attempt], events: list[Event]) -> Story:
    attempts = sorted(told, key=_order)
    tracks = [(_order(attempt), _track(attempt, attempts[:i])) for i, attempt in enumerate(attempts)]
    tracks += _all_lost(attempts, events)
    in_order = [track for _, track in sorted(tracks, key=lambda pair: pair[0])]
    numbers = itertools.count(1)
    return Story(
        request_id=request_id,
        first=attempts[0],
        final=next((attempt for attempt in attempts if attempt.is_accepted), None),
        tracks=tuple(replace(track, number=next(numbers)) if track.attempt else track for track in in_order),
        events=tuple(events),
        gpu_ns=sum(attempt.gpu_ns for attempt in attempts),
    )


def _order(attempt: Attempt) -> tuple[float, bool, int]:
    """Hops count up, and of a hop the take-over comes second: clocks of two machines say less. Processors come last."""
    if not attempt.attempt:
        return math.inf, False, attempt.finished_us
    return attempt.hop, attempt.mode not in ("", "fresh"), attempt.started_us or attempt.finished_us


def _all_lost(attempts: list[Attempt], events: list[Event]) -> list[tuple[tuple[float, bool, int], Track]]:
    """Attempts that only an event tells of, each in its place before the one that started next."""
    found = []
    known = {attempt.attempt for attempt in attempts}
    begun = [event for event in events if event.kind == "attempt.started"]
    for event in begun:
        if event.attempt not in known:
            known.add(event.attempt)
            starts = [later.at_us for later in begun if later.at_us > event.at_us]
            begun_us = event.at_us - attempts[0].produced_us
            later = [_order(attempt) for attempt in attempts if attempt.attempt and attempt.started_us > begun_us]
            hop, is_second, _ = min(later, default=(math.inf, False, 0))
            found.append(((hop, is_second, begun_us), _lost(event, attempts[0], min(starts, default=None))))
    return found


def _track(attempt: Attempt, before: Sequence[Attempt]) -> Track:
    about = " · ".join(filter(None, (f"hop {attempt.hop}", attempt.mode, attempt.error_code or attempt.finish_reason)))
    return Track(
        number=0,
        attempt=attempt.attempt,
        about=about,
        place=" · ".join(filter(None, (attempt.worker, attempt.deployment))),
        outcome=attempt.outcome,
        is_accepted=attempt.is_accepted,
        stretches=tuple(stretches(attempt, before)),
    )


def stretches(attempt: Attempt, before: Sequence[Attempt] = ()) -> list[Stretch]:
    """The times between the stations of an attempt that none of those before it has told with the same time.

    They begin where the attempt before ended, or at the last station that is shared.
    """
    shared = {(name, getattr(earlier, field)) for earlier in before for name, field, _, _ in STATIONS if name in SHARED}
    reached = [(name, getattr(attempt, field), meaning, tone) for name, field, meaning, tone in STATIONS]
    known = [station for station in reached if station[1]]
    own = [station for station in known if (station[0], station[1]) not in shared]
    first_us = min((at_us for _, at_us, _, _ in own), default=0)
    gone = [at_us for name, at_us, _, _ in known if (name, at_us) in shared]
    ended = [earlier.finished_us for earlier in before]
    cursor = max((at_us for at_us in [*gone, *ended] if at_us <= first_us), default=0)
    found = []
    for name, at_us, meaning, tone in own:
        if at_us >= cursor:
            found.append(Stretch(station=name, meaning=meaning, begins_us=cursor, ends_us=at_us, tone=tone))
            cursor = at_us
    return found


def _lost(event: Event, first: Attempt, next_us: int | None) -> Track:
    begins_us = max(event.at_us - first.produced_us, 0)
    ends_us = max(next_us - first.produced_us, begins_us) if next_us is not None else begins_us
    stretch = Stretch(
        station=LOST,
        meaning="the worker died or went on without a word",
        begins_us=begins_us,
        ends_us=ends_us,
        tone="c2",
    )
    return Track(
        number=0,
        attempt=event.attempt,
        about="",
        place=event.worker,
        outcome=LOST,
        is_accepted=False,
        stretches=(stretch,),
    )
