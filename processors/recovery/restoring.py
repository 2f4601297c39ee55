"""Puts what a former owner has left into the parts of a new scheduler. Pure."""

from collections.abc import Callable

from processors.dedupe.sharing import Sharing
from processors.effects import Effect, Forward
from processors.queueing.cancellations import Cancellations
from processors.recovery.legacy import Legacy
from processors.routing.placements import Place, Placements


def restore(
    legacy: Legacy,
    *,
    placements: Placements,
    sharing: Sharing,
    cancellations: Cancellations,
    forward: Callable[[Place], Forward],
) -> list[Effect]:
    """Go on where the former owner was; before anything else has happened.

    Args:
        legacy: concluded.
        placements: of the new scheduler, as all that follows.
        sharing: gets to know ids.
        cancellations: get to know those that may still find their requests.
        forward: puts a cancellation into the slot of its request.
    """
    runs = legacy.runs()
    for place in legacy.places:
        placements.put(place)
    for run in runs:
        if run.state == "ended" and not placements.of(run.key):
            placements.end(run.key)
    for key in legacy.ended:
        placements.end(key)
    sharing.recall(runs)
    for kept in legacy.kept:
        cancellations.inherit(kept.key, at_ms=kept.at_ms, by_ms=kept.by_ms)
    return [forward(place) for place in legacy.to_cancel]
