"""What a step of this engine costs, learnt from its steps: least squares over what was measured. Pure.

It knows the sums of products and nothing else, so a step costs the same however many there were. Older steps fade, so
that a GPU that is throttled or shared is followed.
"""

from typing import Final

from pipeline.engines.attribution import StepModel

MIN_STEPS: Final = 200
"""Fewer say little about four unknowns."""
FADE: Final = 0.999
"""Weight of a step after one more: half of what is known is of the last 700 steps."""
_EVERY: Final = 50
_TERMS: Final = 4
_RIDGE: Final = 1e-9
"""Keeps terms that never varied out of it, relative to the term's own size."""


class StepFit:
    """Learns a `StepModel`.

    Attributes:
        model: the newest one; None until there were enough steps of different kinds.
    """

    def __init__(self) -> None:
        self._products = [[0.0] * _TERMS for _ in range(_TERMS)]
        self._targets = [0.0] * _TERMS
        self._steps = 0
        self.model: StepModel | None = None

    def add(self, duration_ns: int, *, prefill_tokens: int, sequences: int, kv_tokens: int) -> None:
        """Learn from one step."""
        terms = (1.0, float(prefill_tokens), float(sequences), float(kv_tokens))
        for row, left in zip(self._products, terms, strict=True):
            for column, right in enumerate(terms):
                row[column] = row[column] * FADE + left * right
        self._targets = [target * FADE + term * duration_ns for target, term in zip(self._targets, terms, strict=True)]
        self._steps += 1
        if self._steps >= MIN_STEPS and self._steps % _EVERY == 0:
            self.model = self._solved()

    def _solved(self) -> StepModel | None:
        """Least squares; a term that comes out negative is left out and the rest solved anew."""
        kept = list(range(_TERMS))
        while kept:
            solution = _solve([[self._products[i][j] for j in kept] for i in kept], [self._targets[i] for i in kept])
            negative = [index for index, value in zip(kept, solution, strict=True) if value < 0]
            if not negative:
                fixed, prefill, sequence, kv = (
                    dict(zip(kept, solution, strict=True)).get(i, 0.0) for i in range(_TERMS)
                )
                return StepModel(
                    fixed_ns=fixed, per_prefill_token_ns=prefill, per_sequence_ns=sequence, per_kv_token_ns=kv
                )
            kept = [index for index in kept if index not in negative]
        return None


def _solve(matrix: list[list[float]], target: list[float]) -> list[float]:
    """Gauss and Jordan on a symmetric matrix that is not negative, its diagonal raised a little so that it has one."""
    size = len(target)
    rows = [
        [value * (1 + _RIDGE) + (_RIDGE if i == j else 0.0) if i == j else value for j, value in enumerate(row)]
        + [target[i]]
        for i, row in enumerate(matrix)
    ]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column][column]
        rows[column] = [value / head for value in rows[column]]
        for other in range(size):
            factor = rows[other][column]
            if other != column and factor:
                rows[other] = [value - factor * top for value, top in zip(rows[other], rows[column], strict=True)]
    return [row[size] for row in rows]
