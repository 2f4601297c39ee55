"""Ways of feeding engines that run batches to completion, by name: the product's own and those it is compared with."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pipeline.simulation.rtc.baselines.classes import Levels
from pipeline.simulation.rtc.baselines.single import Aimd, Cork, Nexus, Single, Symphony, Triton
from pipeline.simulation.rtc.engine import Engine
from processors.batching.controller import Controller
from processors.batching.modes import ControllerFactory, Mode, controller_for
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.routing.fleet import Fleet

ADAPTIVE: Final = "adaptive"

_Make = Callable[[Queues, Fleet, Policy, Engine], Controller]

_BASELINES: Final[Mapping[str, _Make]] = MappingProxyType(
    {
        "single": lambda q, f, p, _: Single(q, f, p),
        "triton": lambda q, f, p, _: Triton(q, f, p),
        "triton-ttl": lambda q, f, p, _: Triton(q, f, p, timeout_s=0.5 * _tightest_s(p)),
        "triton-levels": lambda q, f, p, _: Levels(q, f, p, order="priority", timeout_share=0.5),
        "clipper": lambda q, f, p, _: Aimd(q, f, p),
        "cork": lambda q, f, p, _: Cork(q, f, p, longest_s=_tightest_s(p)),
        "nexus": lambda q, f, p, engine: Nexus(q, f, p, engine=engine),
        "symphony": lambda q, f, p, engine: Symphony(q, f, p, engine=engine, margin_s=0.002),
    }
)
POLICIES: Final = (ADAPTIVE, *_BASELINES)

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ADAPTIVE: "Millrace's scheduler, as it runs in production",
        "single": "one request at a time",
        "triton": "32 requests, or what has come when the oldest is 5 ms old, as Triton's dynamic batcher does",
        "triton-ttl": "as triton, and what waits for half of the tightest target is rejected",
        "triton-levels": "as triton with priority levels, and what waits for half of its class's target is rejected",
        "clipper": "a size that grows until batches take longer than the tightest target, as Clipper's does",
        "cork": "waits while that is worth it to those who wait, as BentoML's dispatcher does; for one class",
        "nexus": "the largest size of which two fit into the target, from the engine's true costs; for one class",
        "symphony": "batches leave at the last moment, from the engine's true costs; for one class",
    }
)


def factory(name: str, engine: Engine, *, tokens_each: float) -> ControllerFactory:
    """A way of batching as the scheduler takes it, whatever the mode.

    Args:
        name: one of `POLICIES`.
        engine: what some of them know the costs of.
        tokens_each: of a mean request: to them every request costs as much as that.
    """
    if name == ADAPTIVE:
        return controller_for
    known = Engine(
        base_s=engine.base_s,
        each_s=max(engine.each_s + engine.token_s * tokens_each, 1e-9),
        max_size=engine.max_size,
        max_tokens=engine.max_tokens,
    )

    def controllers(mode: Mode, queues: Queues, fleet: Fleet, policy: Policy) -> Controller:
        return _BASELINES[name](queues, fleet, policy, known)

    return controllers


def _tightest_s(policy: Policy) -> float:
    return min(rules.target_ms for rules in policy.classes.values()) / 1000
