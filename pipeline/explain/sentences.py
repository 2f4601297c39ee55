"""Rows to sentences: what happened to a request, why, and how that compares with what was predicted. Pure.

Events are told at the time of the process that saw them; the clocks of processes differ by a little, so that two
sentences may seem to be in the wrong order by that much.
"""

from collections.abc import Callable, Iterable
from typing import Final

from pipeline.explain import phrases
from pipeline.explain.facts import Figures, Happening, Mate, Meanwhile, Rows, Sentence, Story
from pipeline.explain.phrases import number, plural, span, told, why
from pipeline.report.story import Attempt

MATES_NAMED: Final = 5


def stories(request_id: str, rows: Rows) -> list[Story]:
    """The requests that have this id, the oldest first; an id that was used again has several."""
    origins = dict.fromkeys(happening.origin for happening in rows.happenings if happening.origin)
    origins |= dict.fromkeys(attempt.origin for attempt in rows.attempts)
    found = [_story(request_id, origin, rows) for origin in origins]
    return sorted(found, key=lambda story: story.produced_us)


def _story(request_id: str, origin: str, rows: Rows) -> Story:
    attempts = [attempt for attempt in rows.attempts if attempt.origin == origin]
    happenings = [happening for happening in rows.happenings if happening.origin == origin]
    produced_us = attempts[0].produced_us if attempts else happenings[0].at_us
    teller = _Teller(request_id, produced_us, attempts, rows.mates)
    told_of = [*_tell(teller, happenings), *_waits(teller, happenings, rows.meanwhile), *teller.ends()]
    first = attempts[0] if attempts else happenings[0]
    final = next((attempt for attempt in attempts if attempt.is_accepted), None)
    return Story(
        id=request_id,
        tenant=first.tenant,
        model=first.model,
        latency_class=first.latency_class,
        origin=origin,
        produced_us=produced_us,
        outcome=final.outcome if final else "",
        attempts=sum(happening.kind == "attempt.started" for happening in happenings),
        sentences=[
            Sentence(after_ms=0.0 if attempts else None, kind="request.produced", text=f"It was produced to {origin}."),
            *sorted(told_of, key=lambda sentence: sentence.after_ms or 0.0),
            *([] if final else [_open_end(happenings)]),
        ],
    )


def _tell(teller: "_Teller", happenings: list[Happening]) -> Iterable[Sentence]:
    """A sentence for each event; the end of a request is told from its row where there is one."""
    for happening in happenings:
        yield teller.tell(happening)


def _waits(teller: "_Teller", happenings: list[Happening], meanwhile: list[Meanwhile]) -> Iterable[Sentence]:
    """Why it waited: what was decided about its model between its admission and its dispatch, each reason once."""
    admitted = [happening.at_us for happening in happenings if happening.kind == "request.admitted"]
    left = [h.at_us for h in happenings if h.kind in ("request.dispatched", "request.expired", "request.cancelled")]
    if not admitted:
        return
    lane = happenings[0].latency_class
    during = [m for m in meanwhile if admitted[0] <= m.at_us <= min(left, default=m.at_us)]
    for reason in dict.fromkeys(m.reason for m in during if m.kind == "lane.deferred"):
        same = [m for m in during if m.kind == "lane.deferred" and m.reason == reason]
        times = f" ({plural(len(same), 'time')})" if len(same) > 1 else ""
        text = f"It was left waiting{times}, because {why(phrases.DEFERRALS, reason)}{told(same[0].figures)}."
        yield teller.sentence(same[0].at_us, "lane.deferred", text, same[0].figures)
    for event in during:
        if event.kind == "lane.paused" and event.latency_class == lane:
            text = f"Its lane was full with {plural(event.queue_depth, 'request')}: later ones waited in Kafka."
            yield teller.sentence(event.at_us, event.kind, text)


def _open_end(happenings: list[Happening]) -> Sentence:
    kind = happenings[-1].kind if happenings else ""
    state = "waits in its lane" if kind == "request.admitted" else "is at its worker"
    text = f"It has not ended as far as the account knows: it {state}, or what followed is not recorded yet."
    return Sentence(after_ms=None, kind="", text=text)


class _Teller:
    """Tells the events of one request."""

    def __init__(self, request_id: str, produced_us: int, attempts: list[Attempt], mates: list[Mate]) -> None:
        self._id = request_id
        self._produced_us = produced_us
        self._attempts = {attempt.attempt: attempt for attempt in attempts}
        self._mates = mates
        self._begun: list[str] = []
        self._dispatch: Happening | None = None
        self._predictions: dict[str, Happening] = {}

    def sentence(self, at_us: int, kind: str, text: str, figures: Figures | None = None) -> Sentence:
        """A sentence with its time after the record."""
        return Sentence(after_ms=max(at_us - self._produced_us, 0) / 1000, kind=kind, text=text, figures=figures or {})

    def tell(self, event: Happening) -> Sentence:
        """What an event says."""
        tellers: dict[str, Callable[[Happening], str]] = {
            "request.admitted": self._admitted,
            "request.dispatched": self._dispatched,
            "attempt.started": self._started,
            "request.finished": self._finished,
            "request.rejected": self._turned_away,
            "request.expired": self._turned_away,
            "request.cancelled": self._turned_away,
        }
        tell = tellers.get(event.kind, self._other)
        return self.sentence(event.at_us, event.kind, tell(event), event.figures)

    def ends(self) -> Iterable[Sentence]:
        """What only rows know: first tokens, and attempts that ended without an end of the request."""
        for attempt in self._attempts.values():
            if attempt.attempt and attempt.last_us > attempt.first_us:
                text = f"The first token came{self._against_prediction(attempt)}."
                yield self.sentence(self._produced_us + attempt.first_us, "first_token", text)
            if attempt.attempt and attempt.outcome in phrases.ATTEMPT_ENDS:
                text = f"Attempt {attempt.attempt} {phrases.ATTEMPT_ENDS[attempt.outcome]}{_speed(attempt)}."
                yield self.sentence(self._produced_us + attempt.finished_us, f"attempt.{attempt.outcome}", text)

    def _admitted(self, event: Happening) -> str:
        place = f"number {event.queue_depth} in its lane" if event.queue_depth > 1 else "alone in its lane"
        return f"It was admitted with about {plural(event.tokens_in, 'prompt token')}, {place}."

    def _dispatched(self, event: Happening) -> str:
        self._dispatch = event
        figures = event.figures
        reason = f", because {why(phrases.DISPATCHES, event.reason)}" if event.reason else ""
        ran = f", which ran {number(event.running)} then" if event.running else ""
        predicted = _predicted(figures)
        again = "It was dispatched" if not self._begun else "It was dispatched again"
        rest = told(figures, but=("predicted_ttft_s",))
        return f"{again} to {event.worker}{ran}{reason}{rest}.{predicted}{self._company(event)}"

    def _company(self, event: Happening) -> str:
        if event.batch_size <= 1:
            return ""
        others = [m.request_id for m in self._mates if m.batch_id == event.batch_id and m.request_id != self._id]
        named = ", ".join(others[:MATES_NAMED])
        more = f" and {event.batch_size - 1 - MATES_NAMED} more" if event.batch_size - 1 > MATES_NAMED else ""
        who = f": {named}{more}" if named else ""
        return f" It went in a batch of {event.batch_size}{who}."

    def _started(self, event: Happening) -> str:
        before = self._begun[-1] if self._begun else ""
        self._begun.append(event.attempt)
        if self._dispatch is not None:
            self._predictions[event.attempt] = self._dispatch
        how = phrases.MODES.get(event.reason, event.reason)
        if not before:
            return f"{event.worker} began it {how} (attempt {event.attempt})."
        text = f"{event.worker} took it over and began {how} (attempt {event.attempt})."
        if before not in self._attempts:
            text += f" Nothing more was heard of attempt {before}: its worker had died or lost its slot."
        return text

    def _against_prediction(self, attempt: Attempt) -> str:
        dispatch = self._predictions.get(attempt.attempt)
        predicted_s = _predicted_s(dispatch.figures) if dispatch else 0.0
        begin_us = attempt.dispatched_us
        if not predicted_s or not begin_us or attempt.first_us <= begin_us:
            return f" {span((attempt.first_us - attempt.started_us) / 1e6)} after the start"
        took_s = (attempt.first_us - begin_us) / 1e6
        off = f"{abs(took_s / predicted_s - 1):.0%} {'later' if took_s > predicted_s else 'sooner'}"
        return f" {span(took_s)} after the dispatch, {off} than the {span(predicted_s)} that were predicted"

    def _finished(self, event: Happening) -> str:
        attempt = self._attempts.get(event.attempt)
        if attempt is None:
            return f"It ended {event.outcome}."
        if event.outcome == "completed":
            text = f"It completed ({attempt.finish_reason}){_speed(attempt)}, {_deadline(attempt)}."
            if 0 < attempt.last_us <= attempt.first_us:
                text += f" All of it came at once{self._against_prediction(attempt)}."
        else:
            text = f"It ended {event.outcome}, because {why(phrases.ERRORS, event.error_code)}{_speed(attempt)}."
            text += f" {phrases.way_out(event.error_code, event.figures, self._id)}".rstrip()
        return text

    def _turned_away(self, event: Happening) -> str:
        reason = why(phrases.REFUSALS, event.reason) if event.reason else why(phrases.ERRORS, event.error_code)
        verb = {"rejected": "rejected", "expired": "dropped as expired", "cancelled": "cancelled"}[event.outcome]
        where = "before it was queued" if event.outcome == "rejected" else "while it waited for a worker"
        end = f"It was {verb} {where}, because {reason}{told(event.figures, but=('retry_after_s',))}."
        return f"{end} {phrases.way_out(event.error_code, event.figures, self._id)}".rstrip()

    def _other(self, event: Happening) -> str:
        said = event.kind.rpartition(".")[2].replace("_", " ")
        about = f", reason: {event.reason.replace('_', ' ')}" if event.reason and event.reason != said else ""
        detail = told(event.figures) or (f" ({event.detail})" if event.detail else "")
        return f"It was {said}{about}{detail}."


def _predicted(figures: Figures) -> str:
    if not _predicted_s(figures):
        return ""
    what = "first token" if "predicted_ttft_s" in figures else "end of its batch"
    return f" The {what} was predicted {span(_predicted_s(figures))} later."


def _predicted_s(figures: Figures) -> float:
    """How long after the dispatch the first token (or the answer of a whole batch) was expected; 0 if it was not."""
    if "predicted_ttft_s" in figures:
        return figures["predicted_ttft_s"]
    return figures["service_s"] + max(figures.get("starts_in_s", 0.0), 0.0) if "service_s" in figures else 0.0


def _speed(attempt: Attempt) -> str:
    """Tokens, and how fast they came."""
    if not attempt.tokens_out:
        return f" after {_continued(attempt)}" if attempt.continued else " without a token"
    made = f" after {plural(attempt.tokens_out, 'token')}"
    lasted_s = (attempt.last_us - attempt.first_us) / 1e6
    speed = f" at {number((attempt.tokens_out - 1) / lasted_s)} tokens/s" if lasted_s > 0 else ""
    cached = f", {number(attempt.tokens_cached)} of them cached" if attempt.tokens_cached else ""
    followed = f" that followed {_continued(attempt)}" if attempt.continued else ""
    return f"{made}{speed}{followed}, for {plural(attempt.tokens_in, 'prompt token')}{cached}"


def _continued(attempt: Attempt) -> str:
    return f"{plural(attempt.continued, 'token')} of attempts before"


def _deadline(attempt: Attempt) -> str:
    took = f"{span(attempt.finished_us / 1e6)} after it was produced"
    if not attempt.deadline_us:
        return took
    left_s = (attempt.deadline_us - attempt.finished_us) / 1e6
    return f"{took} and {span(abs(left_s))} {'before' if left_s >= 0 else 'past'} its deadline"
