"""Which controller serves which way of batching: the one table."""

from collections.abc import Callable
from typing import Literal

from processors.batching.continuous import Continuous
from processors.batching.controller import Controller
from processors.batching.eager import Eager
from processors.batching.run_to_completion import RunToCompletion
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.routing.fleet import Fleet

Mode = Literal["unknown", "continuous", "run_to_completion"]
ControllerFactory = Callable[[Mode, Queues, Fleet, Policy], Controller]


def controller_for(mode: Mode, queues: Queues, fleet: Fleet, policy: Policy) -> Controller:
    """A controller for engines that batch in `mode`; `unknown` until the first worker has spoken."""
    if mode == "run_to_completion":
        return RunToCompletion(queues, fleet, policy)
    if mode == "continuous":
        return Continuous(queues, fleet, policy)
    return Eager(queues, fleet)
