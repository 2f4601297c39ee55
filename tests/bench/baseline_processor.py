"""A processor with another way of batching in place of the product's; everything else of it is the product's.

Usage: `python -m tests.bench.baseline_processor --policy NAME --options JSON ... --model M`, with the flags of
`millrace processor`. The policies are those that the simulations compare with.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from pipeline.cli.arguments import add_globals, settings_of
from pipeline.cli.failures import guarded
from pipeline.cli.launch import launch
from pipeline.cli.processor import add_arguments
from pipeline.processor.main import main
from pipeline.simulation.llm.baselines import LeastOutstanding, SaturationGate, StaticCap
from pipeline.simulation.rtc.baselines.classes import Levels
from pipeline.simulation.rtc.baselines.single import Cork, Triton
from processors.batching.controller import Controller
from processors.batching.modes import ControllerFactory, Mode
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.routing.fleet import Fleet

_BASELINES: Final[Mapping[str, Callable[..., Controller]]] = MappingProxyType(
    {
        "triton": Triton,
        "cork": Cork,
        "levels": Levels,
        "least_outstanding": LeastOutstanding,
        "static_cap": StaticCap,
        "gate": SaturationGate,
    }
)
NAMES: Final = tuple(_BASELINES)


def factory(name: str, options: dict[str, Any]) -> ControllerFactory:
    """A baseline as the scheduler takes it, whatever the mode of its engines.

    Args:
        name: one of `NAMES`.
        options: the baseline's own, in seconds of real time.
    """

    def make(mode: Mode, queues: Queues, fleet: Fleet, policy: Policy) -> Controller:
        return _BASELINES[name](queues, fleet, policy, **options)

    return make


def run() -> int:
    """Run until asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", choices=NAMES, required=True)
    parser.add_argument("--options", type=msgspec.json.decode, default={}, help="JSON object")
    add_arguments(parser)
    add_globals(parser)
    args = parser.parse_args()
    settings = settings_of(args)
    controllers = factory(args.policy, args.options)
    return launch(args, settings, lambda stop: main(settings, tuple(args.models), stop, controllers=controllers))


if __name__ == "__main__":
    sys.exit(guarded(run))
