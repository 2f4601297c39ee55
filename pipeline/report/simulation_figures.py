"""What is told about a simulation, and in which words: the same in the table and on the page. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.report import numbers
from pipeline.simulation.playing import meanings_of
from pipeline.simulation.scenario import Outcome, Scenario


class Figure(NamedTuple):
    """A figure of every way of batching."""

    head: str
    of: Callable[[Outcome], str]


def figures_of(scenario: Scenario, outcomes: Sequence[Outcome]) -> list[Figure]:
    """The figures that there are, in the order in which they are read."""
    told = [Figure("goodput", lambda one: numbers.share(one.goodput_ratio))]
    if len(scenario.mix) > 1:
        told += [_of_class(name) for name in scenario.mix]
    told.append(Figure("rejected", lambda one: numbers.share(one.rejected_ratio)))
    if any(one.limited_ratio for one in outcomes):
        told.append(Figure("… by limits", lambda one: numbers.share(one.limited_ratio)))
    if any(one.open_at_end for one in outcomes):
        told.append(Figure("still open", lambda one: numbers.whole(one.open_at_end)))
    told += _STREAMING if scenario.answers_stream else _WHOLE
    if any(one.cached_ratio is not None for one in outcomes):
        told.append(Figure("prompts cached", lambda one: numbers.share(one.cached_ratio or 0.0)))
    return [*told, *_COST]


def about(scenario: Scenario, outcomes: Sequence[Outcome], *, span_s: float) -> str:
    """What was played.

    Args:
        scenario: what was asked for.
        outcomes: at least one.
        span_s: from the first arrival to the last.
    """
    count = outcomes[0].requests
    requests = "1 request" if count == 1 else f"{numbers.whole(count)} requests"
    workers = "1 worker" if scenario.workers == 1 else f"{scenario.workers} workers"
    rate = f" in {numbers.duration_s(span_s)}, {numbers.digits(count / span_s)} a second" if span_s > 0 else ""
    speed = "" if scenario.speed == 1 else f", {scenario.speed:g} times as fast as they were"
    return f"{requests}{rate}{speed}, on {workers}"


def notes(scenario: Scenario, outcomes: Sequence[Outcome]) -> list[str]:
    """What the figures mean, what they leave out, and what was compared."""
    batch = "sequences a busy engine decodes at once" if scenario.answers_stream else "requests a batch has"
    said = [
        "Goodput is what was answered within the target of its class.",
        *(f"Target of {name}: {_target(scenario, name)}." for name in scenario.mix),
        f"Batch is how many {batch}, on average. A GPU-hour is {numbers.money(scenario.usd_per_gpu_hour)}.",
    ]
    cut = outcomes[0].cut_requests
    if cut:
        are = "1 request is" if cut == 1 else f"{numbers.whole(cut)} requests are"
        said.append(
            f"{are} longer than the engine's context of {scenario.context_tokens:,} tokens, and were cut to it."
        )
    if any(one.open_at_end for one in outcomes):
        said.append("Still open are requests without an answer when the time for all targets was over: none is good.")
    meanings = meanings_of(scenario)
    return [*said, *(f"{one.policy}: {meanings[one.policy]}." for one in outcomes)]


def _of_class(name: str) -> Figure:
    return Figure(f"goodput, {name}", lambda one: _share(one.goodput_by_class.get(name)))


def _target(scenario: Scenario, name: str) -> str:
    rules = scenario.classes[name]
    if scenario.answers_stream and rules.ttft_ms is not None:
        pace = "" if rules.tpot_ms is None else f", then {numbers.duration_ms(rules.tpot_ms)} per token"
        return f"first token in {numbers.duration_ms(rules.ttft_ms)}{pace}"
    return f"answer in {numbers.duration_ms(rules.target_ms)}"


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else numbers.share(ratio)


def _duration(value_ms: float | None) -> str:
    return "-" if value_ms is None else numbers.duration_ms(value_ms)


def _cost(one: Outcome) -> str:
    return "-" if one.usd_per_1k_good is None else numbers.money(one.usd_per_1k_good)


_STREAMING = (
    Figure("TTFT p50", lambda one: _duration(one.ttft_p50_ms)),
    Figure("TTFT p99", lambda one: _duration(one.ttft_p99_ms)),
    Figure("TPOT p50", lambda one: _duration(one.tpot_p50_ms)),
    Figure("TPOT p99", lambda one: _duration(one.tpot_p99_ms)),
)
_WHOLE = (
    Figure("latency p50", lambda one: _duration(one.latency_p50_ms)),
    Figure("latency p99", lambda one: _duration(one.latency_p99_ms)),
)
_COST = (
    Figure("batch", lambda one: numbers.digits(one.batch_mean)),
    Figure("workers busy", lambda one: numbers.share(one.busy_ratio)),
    Figure("GPU-hours", lambda one: numbers.digits(one.gpu_hours)),
    Figure("$ / 1k good", _cost),
)
