"""What a class promises, as continuous batching needs it: derived from its SLO, nothing to configure."""

from typing import Final

from msgspec import Struct

from processors.policy import ClassPolicy

PATIENCE: Final = 4.0
"""A class that may wait so many times as long as another leaves it a reserve: it can be served a moment later."""


class Promise(Struct, kw_only=True, frozen=True):
    """A class. `rank` is its place in the order of priority, from 0.

    `token_s` is the promised time per token, None for no promise. `is_whole` where the target is for the whole answer
    and not for its first token. `leaves_to` are the ranks of the classes that it leaves a reserve.
    """

    name: str
    rank: int
    yields: bool
    token_s: float | None
    is_whole: bool
    leaves_to: tuple[int, ...]


def promises_of(classes: list[tuple[str, ClassPolicy]]) -> list[Promise]:
    """The promises of the classes, which come in order of priority."""
    return [
        Promise(
            name=name,
            rank=rank,
            yields=rules.yields,
            token_s=rules.tpot_ms / 1000 if rules.tpot_ms else None,
            is_whole=rules.ttft_ms is None and rules.e2e_ms is not None,
            leaves_to=tuple(
                other
                for other, (_, urgent) in enumerate(classes[:rank])
                if rules.yields or rules.target_ms >= PATIENCE * urgent.target_ms
            ),
        )
        for rank, (name, rules) in enumerate(classes)
    ]
