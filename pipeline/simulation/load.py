"""The part of a trace that a scenario plays, as requests."""

import random
import re
from collections.abc import Sequence
from typing import Final

from pipeline.simulation.llm.traffic import SimRequest
from pipeline.simulation.scenario import Scenario
from pipeline.simulation.traces import BLOCK_TOKENS, Arrival
from topics.requests import DEFAULT_TENANT

_NO_TENANT: Final = re.compile(r"[^A-Za-z0-9._-]+")


def requests_of(trace: Sequence[Arrival], scenario: Scenario) -> list[SimRequest]:
    """Requests in order of arrival, none of them played yet.

    What is longer than the engine's context is cut: a prompt to one token less than that, an answer to what its prompt
    leaves.
    """
    draw = random.Random(scenario.seed)
    names, weights = list(scenario.mix), list(scenario.mix.values())
    return [
        _request(index, arrival, draw.choices(names, weights)[0], scenario)
        for index, arrival in enumerate(_played(trace, scenario))
    ]


def measure(trace: Sequence[Arrival], scenario: Scenario) -> tuple[int, float]:
    """How many requests are played, and the seconds from the first to the last."""
    played = _played(trace, scenario)
    return len(played), (played[-1].at_s - played[0].at_s) / scenario.speed if played else 0.0


def cut_requests(trace: Sequence[Arrival], scenario: Scenario) -> int:
    """How many of them are longer than the engine's context."""
    return sum(_whole_tokens(arrival, scenario) > scenario.context_tokens for arrival in _played(trace, scenario))


def _played(trace: Sequence[Arrival], scenario: Scenario) -> list[Arrival]:
    if scenario.seconds is None:
        return list(trace)
    return [arrival for arrival in trace if arrival.at_s < scenario.seconds]


def _whole_tokens(arrival: Arrival, scenario: Scenario) -> int:
    """Answers count only where they take room in the engine."""
    return max(arrival.prompt_tokens, 1) + (max(arrival.answer_tokens, 1) if scenario.answers_stream else 1)


def _request(index: int, arrival: Arrival, latency_class: str, scenario: Scenario) -> SimRequest:
    prompt_tokens = min(max(arrival.prompt_tokens, 1), scenario.context_tokens - 1)
    answer_tokens = min(max(arrival.answer_tokens, 1), scenario.context_tokens - prompt_tokens)
    return SimRequest(
        index,
        arrival.at_s / scenario.speed,
        prompt_tokens,
        answer_tokens,
        latency_class,
        tenant=_NO_TENANT.sub("-", arrival.tenant)[:128] or DEFAULT_TENANT,
        blocks=arrival.blocks[: prompt_tokens // BLOCK_TOKENS],
    )
