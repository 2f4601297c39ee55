"""What batching needs to know about a class, derived from its SLO: nobody has to configure it."""

import math
from typing import Final

from msgspec import Struct

from processors.policy import ClassPolicy

QUANTILE: Final = 0.99
"""Share of batches that deadlines are safe against. One latency model serves all classes, so the tightest one's."""


class Knobs(Struct, kw_only=True, frozen=True):
    """A class as its batches see it.

    Attributes:
        slo_s: the target in seconds: `ttft_ms`, else `e2e_ms`, else `deadline_ms`, and never more than that.
        utilisation: busy share of workers up to which batches are kept small.
        hold_s: a request is held back for a larger batch until it is no older than this.
        yields: fills what the others leave and is never dropped early.
    """

    slo_s: float
    utilisation: float
    hold_s: float
    yields: bool


def knobs_of(rules: ClassPolicy) -> Knobs:
    """Defaults of a class by its SLO."""
    slo_s = rules.target_ms / 1000
    return Knobs(slo_s=slo_s, utilisation=utilisation_of(slo_s), hold_s=hold_s_of(slo_s), yields=rules.yields)


def utilisation_of(slo_s: float) -> float:
    """`0.83 - 0.1 * log10(slo_s)` within [0.6, 0.9]: 0.9 up to 200 ms, 0.8 at 2 s, 0.6 from three minutes on.

    Loose SLOs trade latency, of which they have plenty, for capacity; tight ones stop where waiting costs goodput.
    """
    return min(max(0.83 - 0.1 * math.log10(slo_s), 0.6), 0.9)


def hold_s_of(slo_s: float) -> float:
    """`0.35 * slo_s`, at most 1 s: arrival rates are remembered for a second, so longer waits would be for nobody."""
    return min(0.35 * slo_s, 1.0)
