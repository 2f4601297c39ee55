"""What if: play a recorded trace in virtual time through the scheduler, and through the ways it is compared with.

Nothing is started and no broker is asked: the scheduler is the very one of production, engines are a cost model
(about an 8 B model on an H100 unless the settings name a simulated deployment), and a day passes in minutes. SLOs are
those of the settings' classes. GPU-hours count every replica from the first arrival to the last end.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.cli.arguments import positive, settings_of
from pipeline.cli.failures import OK, tell
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.report import write
from pipeline.cli.views.simulate import outcomes_table
from pipeline.processor.policies import class_policy
from pipeline.report.simulation_page import simulation_page
from pipeline.settings import Settings, SimulatedDeployment
from pipeline.simulation.llm.policies import ADAPTIVE, MEANINGS, POLICIES
from pipeline.simulation.llm.replay import Outcome, Scenario, replay, requests_of
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.traces import Arrival, read_trace
from topics.errors import SettingsError

EXAMPLE = """\
millrace simulate --trace azure2023_conv.csv.gz --workers 4 --speed 8
millrace simulate --trace mooncake.jsonl --workers 8 --policy adaptive --policy cap-128 --plot what-if.html
millrace simulate --trace burst.csv --workers 2 --mix interactive=0.7,bulk=0.3 --json"""
DEFAULT_POLICIES: Final = (ADAPTIVE, "least-outstanding", "gate-ttl", "cap-128")
DEFAULT_CLASS: Final = "interactive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The trace, the fleet, and what is compared."""
    names = "; ".join(f"{name}: {MEANINGS[name]}" for name in POLICIES)
    parser.add_argument(
        "--trace",
        metavar="FILE",
        type=Path,
        required=True,
        help="arrivals as Azure, BurstGPT, Mooncake or ServeGen publish them; .gz is unpacked",
    )
    parser.add_argument(
        "--policy",
        dest="policies",
        metavar="NAME",
        action="append",
        choices=POLICIES,
        help=f"repeatable; default: {', '.join(DEFAULT_POLICIES)}; {names}",
    )
    parser.add_argument("--workers", type=positive, default=4, help="replicas (default: %(default)s)")
    parser.add_argument("--deployment", metavar="M@V", help="a simulated deployment of the settings as the cost model")
    parser.add_argument("--mix", metavar="C=SHARE,…", help=f"share of each class (default: all {DEFAULT_CLASS})")
    parser.add_argument("--speed", type=float, default=1.0, help="play the trace so many times as fast (default: 1)")
    parser.add_argument("--seconds", type=float, help="play only so much of the trace (default: all)")
    parser.add_argument("--usd-per-gpu-hour", type=float, default=2.10, metavar="USD", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the engines' noise and the mix (default: 0)")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write the comparison as an HTML page, too")


def run(args: argparse.Namespace) -> int:
    """Play, and print what came of it."""
    trace = read_trace(args.trace)
    scenario = scenario_of(args, settings_of(args))
    policies = tuple(dict.fromkeys(args.policies or DEFAULT_POLICIES))
    outcomes = [_played(trace, scenario, name) for name in policies]
    if args.json:
        emit_json(outcomes)
    else:
        terminal().print(outcomes_table(args.trace.name, scenario, outcomes))
    if args.plot is not None:
        write(args.plot, simulation_page(args.trace.name, scenario, outcomes))
        tell(f"{args.plot}: {len(outcomes)} ways of batching compared")
    return OK


def scenario_of(args: argparse.Namespace, settings: Settings) -> Scenario:
    """What the command line asks for.

    Raises:
        SettingsError: an unknown class or deployment, or a share or speed that makes no sense.
    """
    if args.speed <= 0:
        raise SettingsError(f"--speed is {args.speed:g}; it has to be more than 0")
    mix = mix_of(args.mix, settings)
    return Scenario(
        workers=args.workers,
        engine=engine_of(args.deployment, settings),
        classes={name: class_policy(settings.classes[name]) for name in mix},
        mix=mix,
        speed=args.speed,
        seconds=args.seconds,
        usd_per_gpu_hour=args.usd_per_gpu_hour,
        seed=args.seed,
    )


def mix_of(text: str | None, settings: Settings) -> Mapping[str, float]:
    """`"interactive=0.7,bulk=0.3"` as shares by class.

    Raises:
        SettingsError: a class that the settings do not have, or a share that is no positive number.
    """
    if text is None:
        name = DEFAULT_CLASS if DEFAULT_CLASS in settings.classes else next(iter(settings.classes))
        return {name: 1.0}
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = item.partition("=")
        if name not in settings.classes:
            raise SettingsError(f"--mix names the class {name!r}; the settings have: {', '.join(settings.classes)}")
        shares[name] = _share(name, share)
    return shares


def engine_of(deployment: str | None, settings: Settings) -> EngineSpec:
    """What a replica is: a simulated deployment's cost model, or the default.

    Raises:
        SettingsError: the deployment is unknown or not simulated.
    """
    if deployment is None:
        return EngineSpec()
    found = settings.deployments.get(deployment)
    if not isinstance(found, SimulatedDeployment):
        simulated = [name for name, one in settings.deployments.items() if isinstance(one, SimulatedDeployment)]
        raise SettingsError(
            f"--deployment {deployment!r} is no simulated one; there are: {', '.join(simulated) or '-'}"
        )
    return EngineSpec(
        fixed_s=found.fixed_us / 1e6,
        sequence_s=found.per_sequence_us / 1e6,
        kv_token_s=found.per_kv_token_us / 1e6,
        prompt_token_s=found.per_prefill_token_us / 1e6,
        step_tokens=found.max_batch_tokens,
        sequences=found.max_sequences,
        kv_tokens=found.max_kv_tokens,
    )


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not share > 0:
        raise SettingsError(f"--mix gives the class {name} the share {text!r}; write a number above 0")
    return share


def _played(trace: list[Arrival], scenario: Scenario, policy: str) -> Outcome:
    requests = requests_of(trace, scenario)
    tell(f"playing {len(requests):,} requests under {policy}")
    return replay(requests, scenario, policy, POLICIES[policy])
