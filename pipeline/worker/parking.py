"""Parking: which sequences give way when work that does not yield finds no room. Pure.

A parked sequence is ended in the engine and handed back; its processor dispatches it again when there is room, and it
goes on after its tokens. That costs computing its prompt and its tokens once more. So those with the fewest tokens go
first: they cost least, and those with more are nearer to leaving by themselves. Between equals it is the one that came
last.

Nobody is parked for ever: one that was dispatched again `MAX_HOPS` times runs to its end. One that would have to start
over is never parked, nor one that the engine's death is being blamed on.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from pipeline.engines.protocol import Load
from pipeline.worker.jobs import Job, Phase
from pipeline.worker.weight import Weight
from topics.dispatches import Dispatch
from topics.fleet import Limits

MAX_HOPS: Final = 8
"""What has changed places so often stays: each time costs its context once more, and it has waited its share."""
MOST_AT_ONCE: Final = 8
"""One request does not send away more than this: a lone one must not cost hundreds of contexts, and many come to the
same in the end."""


class Parkable(Struct, frozen=True):
    """What would become free if all that can be parked were."""

    sequences: int = 0
    kv_tokens: int = 0


NOTHING: Final = Parkable()


class Parking:
    """What gives way to the dispatches that are taken at one moment.

    Args:
        load: of the engine at that moment.
        limits: of the engine.
    """

    __slots__ = ("_free_kv_tokens", "_most")

    def __init__(self, load: Load, limits: Limits) -> None:
        self._most = limits.max_sequences
        self._free_kv_tokens = load.credits.free_kv_tokens

    def for_the_sake_of(self, dispatch: Dispatch, weight: Weight, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs at hand to be parked so that one more has room; none where that would not help."""
        jobs = list(jobs)
        candidates = sorted(filter(may_be_parked, jobs), key=_cost)[:MOST_AT_ONCE]
        held = sum(job.weight.sequences for job in jobs if _is_held(job))
        limit = min(dispatch.sequence_limit or self._most, self._most)
        sequences = held + weight.sequences - limit
        kv_tokens = weight.kv_tokens - self._free_kv_tokens
        if kv_tokens > sum(map(held_kv_tokens, candidates)):
            kv_tokens = 0
        parked: list[Job] = []
        for job in candidates:
            if sequences <= 0 and kv_tokens <= 0:
                break
            parked.append(job)
            sequences -= job.weight.sequences
            kv_tokens -= held_kv_tokens(job)
        self._free_kv_tokens += sum(map(held_kv_tokens, parked)) - weight.kv_tokens
        return parked


def parkable(running: Iterable[Job]) -> Parkable:
    """What could be parked of what runs."""
    sequences = kv_tokens = 0
    for job in running:
        if may_be_parked(job):
            sequences += job.weight.sequences
            kv_tokens += held_kv_tokens(job)
    return Parkable(sequences, kv_tokens) if sequences else NOTHING


def may_be_parked(job: Job) -> bool:
    """Whether a job yields, runs, and would go on where it stopped."""
    return (
        job.dispatch.yields
        and job.phase is Phase.RUNNING
        and job.ending is None
        and job.weight.can_go_on
        and job.deaths == 0
        and job.dispatch.hop < MAX_HOPS
    )


def held_kv_tokens(job: Job) -> int:
    """Tokens of a running job whose keys and values the engine holds for certain."""
    return job.weight.prompt_tokens + (job.attempt.length if job.attempt is not None else 0)


def _is_held(job: Job) -> bool:
    """Whether it takes room of the engine, or will at once."""
    return job.phase is Phase.RESUMING or (job.phase is Phase.RUNNING and job.ending is None)


def _cost(job: Job) -> tuple[int, int]:
    return (job.attempt.length if job.attempt is not None else 0, -job.serial)
