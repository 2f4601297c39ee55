"""What if: a trace is played once under each way of batching that the engine's kind has."""

from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.simulation.llm import policies as streaming
from pipeline.simulation.llm.replay import replay as replay_streaming
from pipeline.simulation.load import cut_requests, requests_of
from pipeline.simulation.outcomes import outcome_of
from pipeline.simulation.rtc import policies as whole
from pipeline.simulation.rtc.replay import replay as replay_whole
from pipeline.simulation.scenario import Outcome, Scenario
from pipeline.simulation.traces import Arrival

STREAMING: Final[Mapping[str, str]] = streaming.MEANINGS
WHOLE: Final[Mapping[str, str]] = whole.MEANINGS
ALL: Final = tuple(dict.fromkeys((*STREAMING, *WHOLE)))
STREAMING_DEFAULTS: Final = (streaming.ADAPTIVE, "least-outstanding", "gate-ttl", "cap-128")
WHOLE_DEFAULTS: Final = (whole.ADAPTIVE, "triton", "triton-ttl", "cork")


def meanings_of(scenario: Scenario) -> Mapping[str, str]:
    """The ways of batching that a scenario's engines can be fed in, and what each of them does."""
    return STREAMING if scenario.answers_stream else WHOLE


def defaults_of(scenario: Scenario) -> tuple[str, ...]:
    """Those that are compared if nobody says which."""
    return STREAMING_DEFAULTS if scenario.answers_stream else WHOLE_DEFAULTS


def play(trace: Sequence[Arrival], scenario: Scenario, policy: str) -> Outcome:
    """Play a trace under one of `meanings_of` the scenario."""
    requests = requests_of(trace, scenario)
    if scenario.answers_stream:
        run = replay_streaming(requests, scenario, streaming.POLICIES[policy])
    else:
        run = replay_whole(requests, scenario, policy)
    return outcome_of(policy, requests, scenario, run, cut=cut_requests(trace, scenario))
