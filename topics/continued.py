"""What a row says of the attempts before its own. Pure."""

from typing import Final, NamedTuple

from topics.dispatches import Told


class Before(NamedTuple):
    """What a request's sender had of its answer before a row: tokens, and when the first and the newest came.

    Times are in microseconds after the request was produced, 0 where there were none.
    """

    tokens: int = 0
    first_us: int = 0
    last_us: int = 0


NOTHING_BEFORE: Final = Before()


def before(told: Told | None, *, produced_us: int) -> Before:
    """What was told of an answer, in a row's terms."""
    if told is None:
        return NOTHING_BEFORE
    return Before(told.tokens, after(produced_us, told.first_at_us), after(produced_us, told.last_at_us))


def after(produced_us: int, at_us: int) -> int:
    """Microseconds after the request was produced: at least 1 for a station that was reached, else 0."""
    return max(at_us - produced_us, 1) if at_us else 0
