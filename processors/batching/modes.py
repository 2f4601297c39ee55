"""Which controller serves which way of batching: the one table."""

from typing import Literal

from processors.batching.controller import Controller
from processors.batching.eager import Eager
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.routing.fleet import Fleet

Mode = Literal["unknown", "continuous", "run_to_completion"]


def controller_for(mode: Mode, queues: Queues, fleet: Fleet, policy: Policy) -> Controller:
    """A controller for engines that batch in `mode`; `unknown` until the first worker has spoken."""
    return Eager(queues, fleet)
