"""How long a client waits, and for what. Pure: numbers only."""

from dataclasses import dataclass
from math import inf
from typing import Final, Literal

PATIENCE_S: Final = 600.0
"""For the first token of a request that names no deadline: what HTTP clients of language models wait."""
GRACE_S: Final = 30.0
"""After a request's deadline: the pipeline says that it has passed, and the answer needs a moment to arrive."""

Wait = Literal["first_token_s", "idle_s", "total_s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The three waits of one answer, in seconds; `inf` for no limit."""

    first_token_s: float = inf
    idle_s: float = inf
    total_s: float = inf


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """What to wait for at most, in seconds; `math.inf` for no limit.

    They are for a pipeline that is silent. A pipeline that runs ends every request by itself, at its deadline at the
    latest, and that is the better clock: give `deadline_ms` where time matters.

    Attributes:
        connect_s: opening the client: from the first try to a connected broker.
        send_s: from handing a request to the producer to the broker's acknowledgement. A broker restart takes 10 s.
        first_token_s: from the acknowledgement to the first token, or to the end where no token comes. None: 600 s,
            or until 30 s after the deadline where the request names one.
        idle_s: from one accepted record of the answer to the next, once tokens have come. A stream whose worker died
            is silent until another takes over, some 10 s.
        total_s: from the acknowledgement to the end. None: no limit, or 30 s after the deadline where the
            request names one.
        find_s: resuming an answer by its request's id alone: from the end of the log on, for its first record.
    """

    connect_s: float = 10.0
    send_s: float = 30.0
    first_token_s: float | None = None
    idle_s: float = 60.0
    total_s: float | None = None
    find_s: float = 10.0

    def limits(self, deadline_ms: int | None) -> Limits:
        """The waits of a request with this deadline."""
        by_deadline_s = None if deadline_ms is None else deadline_ms / 1000 + GRACE_S
        return Limits(
            first_token_s=_first_given(self.first_token_s, by_deadline_s, PATIENCE_S),
            idle_s=self.idle_s,
            total_s=_first_given(self.total_s, by_deadline_s, inf),
        )


def _first_given(*choices: float | None) -> float:
    return next(choice for choice in choices if choice is not None)
