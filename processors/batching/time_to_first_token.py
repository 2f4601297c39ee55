"""When an engine that batches continuously will give a request its first token, and how much prompt it may be handed.

Both are times: a budget of prompt tokens that keeps steps short enough for the answers in progress means the same on
every engine, whatever it is configured to take per step.
"""

import math
from typing import Final

from processors.batching.steps import StepCost

SAFETY: Final = 1.3
"""Steps and prompts take longer than predicted when others join: predictions are multiplied by it."""
STEP_STRETCH: Final = 1.5
"""A step with prompt in it may last so many times the time per token that the answers in progress are promised."""
MIN_PROMPT_TOKENS: Final = 256
"""Least prompt budget of a worker: below it, prompts would be computed in crumbs."""

UNPROMISED_STEPS: Final = 2
"""Where nothing is promised, so many full steps of prompt may wait: engines never run dry between two heartbeats."""

_MIN_ROOM_TOKENS: Final = 64


def first_token_s(
    cost: StepCost, step_s: float, sequences: int, prompt_tokens: int, step_limit_tokens: int, hop_s: float
) -> float:
    """Seconds until a first token comes back, if its prompt and what waits before it are `prompt_tokens` together.

    Half a step until the engine looks, then as many steps as the prompt tokens fill beside `sequences` that are
    answered, each `step_s` long without prompt, and the time of the prompt tokens themselves.
    """
    room = max(_MIN_ROOM_TOKENS, step_limit_tokens - sequences)
    steps = 0.5 + math.ceil(prompt_tokens / room)
    return 2 * hop_s + SAFETY * (steps * step_s + cost.prompt_token_s * prompt_tokens)


def prompt_budget_tokens(cost: StepCost, *, step_s: float, token_s: float | None, step_limit_tokens: int) -> float:
    """Prompt tokens that may wait in a worker, so that the step that computes them is not too long for the others.

    Args:
        cost: of steps.
        step_s: a step without prompt.
        token_s: seconds per token that the answers in progress are promised; None for no promise.
        step_limit_tokens: what the engine takes in one step.
    """
    if token_s is None:
        return float(UNPROMISED_STEPS * step_limit_tokens)
    budget = (STEP_STRETCH * token_s - step_s) / cost.prompt_token_s
    return max(float(MIN_PROMPT_TOKENS), min(float(step_limit_tokens), budget))
