"""Who runs what, by the logs alone, and how long a reader waited when it changed hands. Pure.

Times are broker times in seconds since the epoch: the responses' own timestamps.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.bench.chaos.plan import Fault
from topics.names import split_origin
from topics.responses import Started

EFFECT_S: Final = 4.0
"""A strike is felt for so long at least: the session's time-out, and then the take-over."""


@dataclass(slots=True)
class Strike:
    """A blow that was dealt: to whom, from when until when it is felt, and what that process held: attempt by id."""

    fault: Fault
    target: str
    at_s: float
    until_s: float
    held: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What one strike cost one reader. `silence_s` is the longest time without a token around it; `taken_over_s` the
    time from the strike to the first token of another attempt, None where the struck attempt told the whole answer.
    """

    strike: Strike
    request_id: str
    silence_s: float
    taken_over_s: float | None


@dataclass(slots=True)
class _Run:
    """One request: its attempts and when its tokens came."""

    tokens: list[tuple[float, str]] = field(default_factory=list)
    attempt: str = ""
    slot: tuple[int, int] = (-1, -1)
    resumes_at_s: float | None = None


class Ledger:
    """Fed with what the reader rule accepts, in log order, and with the markers of slot owners.

    Attributes:
        modes: accepted starts, by mode; the first of each request is among them.
        waits: what strikes cost readers, of requests that have ended.
        accepted_tokens, void_tokens, ignored_tokens: tokens that readers have, that restarts made void, and that were
            told by attempts that did not count.
        resuming_s: from `started resume` to the first token of that attempt, of each.
        recomputed_tokens: tokens of prompts and answers that another attempt had computed already.
    """

    def __init__(self) -> None:
        self.modes: dict[str, int] = {}
        self.waits: list[Wait] = []
        self.strikes: list[Strike] = []
        self.accepted_tokens = 0
        self.void_tokens = 0
        self.ignored_tokens = 0
        self.recomputed_tokens = 0
        self.resuming_s: list[float] = []
        self.prompt_tokens = 0
        self._owners: dict[tuple[int, int], str] = {}
        self._runs: dict[str, _Run] = {}

    def on_owner(self, slot: int, term: int, worker: str) -> None:
        """A worker's marker lies in a slot at offset `term`."""
        self._owners[slot, term] = worker

    def on_started(self, request_id: str, started: Started, *, tokens: int, prompt_tokens: int, at_s: float) -> None:
        """An attempt is current, `tokens` tokens into the answer; a restart has made them void."""
        self.modes[started.mode] = self.modes.get(started.mode, 0) + 1
        run = self._runs.setdefault(request_id, _Run())
        self.prompt_tokens += 0 if run.attempt else prompt_tokens
        if run.attempt:
            self.recomputed_tokens += prompt_tokens + (tokens if started.mode == "resume" else 0)
            self.void_tokens += tokens if started.mode == "restart" else 0
        run.attempt = started.attempt
        run.resumes_at_s = at_s if started.mode == "resume" else None
        run.slot = (split_origin(started.dispatch)[1], started.term)

    def on_tokens(self, request_id: str, count: int, at_s: float) -> None:
        """The current attempt told `count` tokens."""
        run = self._runs[request_id]
        run.tokens.append((at_s, run.attempt))
        if run.resumes_at_s is not None:
            if count == 1:  # those that do not stream tell many at a time
                self.resuming_s.append(at_s - run.resumes_at_s)
            run.resumes_at_s = None
        self.accepted_tokens += count

    def on_ignored(self, count: int) -> None:
        """Another attempt told `count` tokens."""
        self.ignored_tokens += count

    def on_ended(self, request_id: str, at_s: float, *, streams: bool = True) -> None:
        """The terminal record was accepted. Nobody waits for the next token of an answer that does not stream."""
        run = self._runs.pop(request_id, None)
        if run is not None and streams:
            run.tokens.append((at_s, run.attempt))
            self.waits += [_wait(run, request_id, strike) for strike in self.strikes if request_id in strike.held]

    def held_by(self, worker: str) -> dict[str, str]:
        """Attempts of open requests that a worker runs, by request id."""
        return {
            request_id: run.attempt for request_id, run in self._runs.items() if self._owners.get(run.slot) == worker
        }

    @property
    def open(self) -> int:
        """Requests that have started and not ended."""
        return len(self._runs)

    def is_alone(self, strike: Strike) -> bool:
        """Whether no other strike was felt meanwhile."""
        return all(
            other is strike or other.until_s < strike.at_s or other.at_s > strike.until_s for other in self.strikes
        )


def _wait(run: _Run, request_id: str, strike: Strike) -> Wait:
    struck = strike.held[request_id]
    others = (at_s for at_s, attempt in run.tokens if at_s >= strike.at_s and attempt != struck)
    taken_over_at_s = next(others, None)
    pairs = pairwise(at_s for at_s, _ in run.tokens)
    silences = (later - earlier for earlier, later in pairs if later >= strike.at_s and earlier <= strike.until_s)
    return Wait(
        strike=strike,
        request_id=request_id,
        silence_s=max(silences, default=0.0),
        taken_over_s=None if taken_over_at_s is None else taken_over_at_s - strike.at_s,
    )
