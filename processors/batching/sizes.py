"""How large batches should be: closed forms of the load, the latency model and the SLO.

With `w` workers, an arrival rate of `r` per second over all of them, a batch of `n` taking `a + b*n` seconds (`b` with
the tokens of an average request in it), a safety factor `k` and a one-way hop of `h` seconds. Requests per batch
throughout; every size is between 1 and the largest batch that the engine takes.
"""

import math
from typing import Final, NamedTuple

from processors.batching.latency import LatencyModel

_NEARLY_ALL: Final = 1e-3
_TAKE_FACTOR: Final = 1.3
_TAKE_UTILISATION: Final = 0.95


class Sizes(NamedTuple):
    """Sizes for a pool of `workers`; more than 0, a fraction where several schedulers share a worker."""

    base_s: float
    each_s: float
    safety: float
    hop_s: float
    workers: float
    max_size: int

    @classmethod
    def of(cls, model: LatencyModel, *, tokens_each: float, hop_s: float, workers: float, max_size: int) -> "Sizes":
        """Sizes by a latency model for requests of `tokens_each` on average."""
        each_s = model.each_s + model.token_s * tokens_each
        return cls(model.base_s, each_s, model.safety, hop_s, workers, max_size)

    def equilibrium(self, rate_per_s: float, utilisation: float) -> int:
        """The batch size at which workers are busy for `utilisation` of the time: `(r/w)*a / (u - (r/w)*b)`.

        Source: n requests per batch take a + b*n seconds and arrive in n / (r/w), so u = (a + b*n) * (r/w) / n.
        """
        share = rate_per_s / self.workers
        headroom = utilisation - share * self.each_s
        if headroom <= _NEARLY_ALL:
            return self.max_size
        return self._bounded(math.ceil(share * self.base_s / headroom))

    def limit(self, rate_per_s: float, slo_s: float) -> int:
        """The largest batch that fresh arrivals can fill within the SLO `D`: `(D - 2h - k*a) / (k*b + 1/r)`."""
        room_s = slo_s - 2 * self.hop_s - self.safety * self.base_s
        return self._bounded(int(room_s / (self.safety * self.each_s + 1.0 / max(rate_per_s, 1e-9))))

    def half(self, slo_s: float) -> int:
        """The largest batch whose requests would meet the SLO if it took twice as long: `(D/2 - h - k*a) / (k*b)`."""
        room_s = 0.5 * slo_s - self.hop_s - self.safety * self.base_s
        return self._bounded(int(room_s / (self.safety * self.each_s)))

    def target(self, rate_per_s: float, slo_s: float) -> int:
        """Smaller batches than this do not keep up with the load: `min(equilibrium at u=1, limit)`."""
        return min(self.equilibrium(rate_per_s, 1.0), self.limit(rate_per_s, slo_s))

    def hold(self, rate_per_s: float, slo_s: float, utilisation: float) -> int:
        """Smaller batches than this are worth waiting with, if it costs nothing: `min(equilibrium at u*, limit)`."""
        return min(self.equilibrium(rate_per_s, utilisation), self.limit(rate_per_s, slo_s))

    def take(self, rate_per_s: float, slo_s: float) -> int:
        """Larger batches than this are not needed and block those who come next.

        `max(half, 1.3 * equilibrium at u=1)`; near saturation as large as the engine takes.
        """
        if rate_per_s / self.workers * self.each_s >= _TAKE_UTILISATION:
            return self.max_size
        needed = math.ceil(_TAKE_FACTOR * self.equilibrium(rate_per_s, 1.0))
        return self._bounded(max(self.half(slo_s), needed))

    def saturation(self, rate_per_s: float, slo_s: float, utilisation: float) -> float:
        """The batch size that the load asks for over the one that the SLO allows: above 1, only workers help."""
        share = rate_per_s / self.workers
        headroom = max(utilisation - share * self.each_s, _NEARLY_ALL)
        return share * self.base_s / headroom / self.limit(rate_per_s, slo_s)

    def _bounded(self, size: int) -> int:
        return max(1, min(size, self.max_size))
