"""Whose work a step's time was: engine time split over the sequences of a step, to the nanosecond. Pure arithmetic.

A step takes `fixed + prefill * p + sequence * n + kv * k`: a part that every step costs however many are in it, and
parts that somebody caused. What somebody caused is his (the marginal part). The fixed part would be paid in full by
any sequence that ran alone, so those present share it equally: that is its Shapley value. A sequence that decodes
beside a long prompt is not charged for the prompt, and one that reads a long prompt is not let off as one of many. The
shares are then scaled to the time that was measured, and rounded so that they add up to it exactly.

Source: L. S. Shapley, A Value for n-Person Games, 1953: a fixed cost of n who would each cause it alone is n-ths.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

_SCALE: Final = 1024
"""Weights are whole 1024ths of a nanosecond, so that shares are exact integer arithmetic."""


class StepModel(Struct, kw_only=True, frozen=True):
    """What a step costs, in nanoseconds: of itself, per prompt token computed, per sequence, per token held in the KV
    cache of those that run. Only the proportions count.
    """

    fixed_ns: float
    per_prefill_token_ns: float
    per_sequence_ns: float
    per_kv_token_ns: float


TYPICAL: Final = StepModel(fixed_ns=9e6, per_prefill_token_ns=9000.0, per_sequence_ns=60_000.0, per_kv_token_ns=12.0)
"""Where nothing was measured yet: proportions of an 8-billion-parameter model in 16 bits on a data-centre GPU."""


def shares(total_ns: int, prefill_tokens: Sequence[int], kv_tokens: Sequence[int], model: StepModel) -> list[int]:
    """Each sequence's part of a step that took `total_ns`, in nanoseconds; they add up to it.

    Args:
        total_ns: measured, times the GPUs of the engine.
        prefill_tokens: of each sequence, prompt tokens that the step computed; 0 for one that decodes.
        kv_tokens: of each sequence, tokens that it held.
        model: proportions of the cost.
    """
    count = len(kv_tokens)
    if not count:
        return []
    base = round((model.fixed_ns / count + model.per_sequence_ns) * _SCALE)
    per_prefill = round(model.per_prefill_token_ns * _SCALE)
    per_kv = round(model.per_kv_token_ns * _SCALE)
    weights = [base + per_prefill * p + per_kv * kv for p, kv in zip(prefill_tokens, kv_tokens, strict=True)]
    return split(total_ns, weights)


def split(total_ns: int, weights: Sequence[int]) -> list[int]:
    """`total_ns` in proportion to whole, non-negative weights; equally where all are 0.

    What does not divide goes to those with the largest remainders, the first ones among equals, a nanosecond each.
    """
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts = [total_ns * weight // whole for weight in weights]
    rest = total_ns - sum(parts)
    if rest:
        by_remainder = sorted(range(len(parts)), key=lambda index: -(total_ns * weights[index] % whole))
        for index in by_remainder[:rest]:
            parts[index] += 1
    return parts
