"""A linear law learned from a stream of measurements, in which rare kinds of samples are never outvoted by common ones.

Samples are sorted into buckets by the caller; each bucket keeps a running mean, and least squares is solved over the
means. Minutes of small batches therefore do not erase what is known about large ones, as exponential forgetting does.
Knows nothing of batches or engines, and does not decide when to fit again.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Final

BUCKET_MEMORY: Final = 64
"""A bucket's mean is that of about so many of its newest samples."""
TRUSTED_COUNT: Final = 8
"""Samples after which a bucket weighs no more than others: its noise is then below what the law leaves out."""
RIDGE: Final = 0.05
"""Weight of the prior: that of a coefficient which is off by 100 % against a relative error of 5 % in one bucket."""

_SINGULAR: Final = 1e-9
"""Added to the diagonal, so that features never seen apart do not make the system unsolvable."""


def half_octave(value: float) -> int:
    """The bucket of a positive number: two for each doubling, from 0 for everything up to 1."""
    return int(2 * math.log2(value)) if value > 1 else 0


def short(value: float) -> float:
    """A figure for people: four digits are more than anything is known by."""
    return float(f"{value:.4g}")


class _Bucket:
    """Running means of one kind of sample."""

    __slots__ = ("count", "features", "value")

    def __init__(self, features: Sequence[float], value: float) -> None:
        self.count = 1
        self.features = list(features)
        self.value = value

    def add(self, features: Sequence[float], value: float) -> None:
        self.count = min(BUCKET_MEMORY, self.count + 1)
        share = 1.0 / self.count
        means = self.features
        for index, feature in enumerate(features):
            means[index] += share * (feature - means[index])
        self.value += share * (value - self.value)


class BucketedFit:
    """Coefficients of `value = sum(coefficient * feature)`, fitted to minimise relative errors.

    Give a constant feature of 1 for an offset. Memory and the time of a fit grow with the number of distinct buckets,
    which the caller bounds by its choice of keys.

    Args:
        prior: coefficients to fall back on where samples say nothing, one for each feature, not negative.
        floors: smallest value of each coefficient that `fit` returns.
    """

    def __init__(self, prior: Sequence[float], *, floors: Sequence[float]) -> None:
        self._prior = tuple(prior)
        self._floors = tuple(floors)
        self._buckets: dict[Hashable, _Bucket] = {}

    def __len__(self) -> int:
        """Buckets with at least one sample."""
        return len(self._buckets)

    def add(self, bucket: Hashable, features: Sequence[float], value: float) -> None:
        """Learn from one sample of a bucket; `value` is positive."""
        known = self._buckets.get(bucket)
        if known is None:
            self._buckets[bucket] = _Bucket(features, value)
        else:
            known.add(features, value)

    def fit(self) -> tuple[float, ...]:
        """The coefficients: weighted least squares over bucket means, drawn to the prior by a weak ridge.

        A bucket's row is divided by its value (relative errors) and weighs `sqrt(min(count, 8))`.
        Source: Dynamo's planner buckets regression samples likewise (components/src/dynamo/planner/core).
        """
        size = len(self._prior)
        normal = [[0.0] * (size + 1) for _ in range(size)]  # [coefficient, coefficient + right-hand side]
        for known in self._buckets.values():
            weight = min(known.count, TRUSTED_COUNT) / (known.value * known.value)
            _accumulate(normal, known.features, known.value, weight)
        for index, prior in enumerate(self._prior):
            scale = RIDGE / prior if prior > 0 else 1.0
            normal[index][index] += scale * scale + _SINGULAR
            normal[index][size] += scale * scale * prior
        return self._at_least_floors(normal)

    def _at_least_floors(self, normal: list[list[float]]) -> tuple[float, ...]:
        """Solve; a coefficient that falls below its floor is kept there and the others are solved for again.

        Features that always go together would otherwise share their effect as a large and a negative coefficient, of
        which the floor takes one half away.
        """
        values = list(self._floors)
        free = list(range(len(values)))
        while free:
            kept = [index for index in range(len(values)) if index not in free]
            reduced = [
                [
                    *(normal[row][column] for column in free),
                    normal[row][-1] - sum(normal[row][k] * values[k] for k in kept),
                ]
                for row in free
            ]
            solved = dict(zip(free, _solve(reduced), strict=True))
            above = [index for index in free if solved[index] >= self._floors[index]]
            if above == free:
                for index, value in solved.items():
                    values[index] = value
                break
            free = above
        return tuple(values)


def _accumulate(normal: list[list[float]], features: Sequence[float], value: float, weight: float) -> None:
    for row, left in zip(normal, features, strict=True):
        scaled = weight * left
        for column, right in enumerate(features):
            row[column] += scaled * right
        row[-1] += scaled * value


def _solve(rows: list[list[float]]) -> list[float]:
    """Solve a positive definite system, given with its right-hand side as the last column, by Gaussian elimination."""
    size = len(rows)
    for pivot in range(size):
        best = max(range(pivot, size), key=lambda row: abs(rows[row][pivot]))
        rows[pivot], rows[best] = rows[best], rows[pivot]
        for row in range(pivot + 1, size):
            factor = rows[row][pivot] / rows[pivot][pivot]
            for column in range(pivot, size + 1):
                rows[row][column] -= factor * rows[pivot][column]
    solved = [0.0] * size
    for row in reversed(range(size)):
        known = sum(rows[row][column] * solved[column] for column in range(row + 1, size))
        solved[row] = (rows[row][size] - known) / rows[row][row]
    return solved
