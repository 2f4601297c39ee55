"""What a batch costs on a modelled run-to-completion engine."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Service time `(base + each * size + token * tokens) * noise`, with now and then a straggler.

    Attributes:
        base_s, each_s, token_s: seconds of a batch, of each request in it and of each of their tokens.
        max_size, max_tokens: largest batch.
        sigma: standard deviation of the logarithm of the noise.
        straggler_share: share of batches that take `straggler_factor` times as long.
        drift_at_s: from then on everything takes `drift_factor` times as long.
    """

    base_s: float = 0.005
    each_s: float = 0.0008
    token_s: float = 0.0
    max_size: int = 64
    max_tokens: int = 1_000_000_000
    sigma: float = 0.04
    straggler_share: float = 0.004
    straggler_factor: float = 2.0
    drift_at_s: float = math.inf
    drift_factor: float = 1.0

    def mean_s(self, size: int, tokens: float = 0.0) -> float:
        """Seconds of a batch without noise."""
        return self.base_s + self.each_s * size + self.token_s * tokens

    def sample_s(self, size: int, tokens: float, rng: np.random.Generator, at_s: float) -> float:
        """Seconds that a batch takes which starts at `at_s`: two draws for each batch."""
        seconds = self.mean_s(size, tokens) * math.exp(rng.normal(0, self.sigma))
        if rng.random() < self.straggler_share:
            seconds *= self.straggler_factor
        return seconds * self.drift_factor if at_s >= self.drift_at_s else seconds

    def capacity_per_s(self, tokens_each: float = 0.0) -> float:
        """Requests per second of one worker in its best batch, whatever its latency."""
        sizes = [size for size in range(1, self.max_size + 1) if size * tokens_each <= self.max_tokens]
        return max(size / self.mean_s(size, size * tokens_each) for size in sizes)
