"""What if: play a recorded trace in virtual time through the scheduler, and through the ways it is compared with.

Nothing is started and no broker is asked: the scheduler is the very one of production, engines are a cost model (about
an 8 B model on an H100 unless --deployment names a simulated one of the settings), and a day passes in minutes. Classes
with their SLOs and priorities, and tenants with their weights and limits, are those of the settings. Requests that are
longer than the engine's context are cut, which is told. A run goes on after the last arrival until the longest target
has passed, for two hours at most. GPU-hours count every replica from the first arrival to the last end.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.cli.arguments import positive, settings_of
from pipeline.cli.failures import OK, tell
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.report import write
from pipeline.cli.views.simulate import comparison
from pipeline.processor.policies import class_policy, tenant_policies
from pipeline.report.simulation_page import simulation_page
from pipeline.settings import ModelSettings, Settings, SimulatedDeployment
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.load import measure
from pipeline.simulation.playing import (
    ALL,
    STREAMING,
    STREAMING_DEFAULTS,
    WHOLE,
    WHOLE_DEFAULTS,
    defaults_of,
    meanings_of,
    play,
)
from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.scenario import Outcome, Scenario
from pipeline.simulation.traces import Arrival, read_trace
from topics import names
from topics.errors import SettingsError

EXAMPLE = """\
millrace simulate --trace azure2023_conv.csv.gz --workers 4 --speed 8
millrace simulate --trace mooncake.jsonl --workers 8 --policy adaptive --policy cap-128 --plot what-if.html
millrace simulate --trace burst.csv --workers 2 --mix interactive=0.7,bulk=0.3 --json
millrace simulate --trace burst.csv --deployment embedder@v1 --policy adaptive --policy triton"""
DEFAULT_CLASS: Final = "interactive"
KV_RATIO: Final = 0.98
"""No request is longer than this part of an engine's KV cache."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The trace, the fleet, and what is compared."""
    parser.add_argument(
        "--trace",
        metavar="FILE",
        type=Path,
        required=True,
        help="arrivals as Azure, BurstGPT, Mooncake or ServeGen publish them; .gz is unpacked",
    )
    parser.add_argument("--policy", dest="policies", metavar="NAME", action="append", choices=ALL, help=_policies())
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
    scenario = scenario_of(args, settings_of(args))
    policies = _chosen(args.policies, scenario)
    trace = read_trace(args.trace)
    requests, span_s = measure(trace, scenario)
    outcomes = [_played(trace, requests, scenario, name) for name in policies]
    if args.json:
        emit_json(outcomes)
    else:
        console = terminal()
        console.print(comparison(args.trace.name, scenario, outcomes, span_s=span_s, width=console.width))
    if args.plot is not None:
        write(args.plot, simulation_page(args.trace.name, scenario, outcomes, span_s=span_s))
        tell(f"{args.plot}: {len(outcomes)} ways of batching compared")
    return OK


def scenario_of(args: argparse.Namespace, settings: Settings) -> Scenario:
    """What the command line asks for.

    Raises:
        SettingsError: an unknown class or deployment, or a share, a speed or a duration that makes no sense.
    """
    for flag, value in (("--speed", args.speed), ("--seconds", args.seconds)):
        if value is not None and not value > 0:
            raise SettingsError(f"{flag} is {value:g}; it has to be more than 0")
    model = _model_of(args.deployment, settings)
    mix = mix_of(args.mix, model.classes if args.deployment else tuple(settings.classes))
    engine, context_tokens = engine_of(args.deployment, settings)
    return Scenario(
        workers=args.workers,
        engine=engine,
        classes={name: class_policy(settings.classes[name]) for name in mix},
        mix=mix,
        tenants=tenant_policies(settings),
        hop_s=model.hop_ms / 1000,
        context_tokens=context_tokens,
        speed=args.speed,
        seconds=args.seconds,
        usd_per_gpu_hour=args.usd_per_gpu_hour,
        seed=args.seed,
    )


def mix_of(text: str | None, classes: Sequence[str]) -> Mapping[str, float]:
    """`"interactive=0.7,bulk=0.3"` as shares by class.

    Raises:
        SettingsError: a class that there is not, or a share that is no positive number.
    """
    if text is None:
        return {DEFAULT_CLASS if DEFAULT_CLASS in classes else classes[0]: 1.0}
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = item.partition("=")
        if name not in classes:
            raise SettingsError(f"--mix names the class {name!r}; the settings have: {', '.join(classes)}")
        shares[name] = _share(name, share)
    return shares


def engine_of(deployment: str | None, settings: Settings) -> tuple[EngineSpec | Engine, int]:
    """What a replica is, and the context that it has: a simulated deployment's cost model, or the default.

    Raises:
        SettingsError: the deployment is unknown or not simulated.
    """
    if deployment is None:
        spec = EngineSpec(by_priority=True)
        return spec, int(KV_RATIO * spec.kv_tokens)
    found = settings.deployments.get(deployment)
    if not isinstance(found, SimulatedDeployment):
        simulated = [name for name, one in settings.deployments.items() if isinstance(one, SimulatedDeployment)]
        raise SettingsError(
            f"--deployment {deployment!r} is no simulated one; there are: {', '.join(simulated) or '-'}"
        )
    if found.mode == "run_to_completion":
        return _batching(found), found.max_context_tokens
    return _stepping(found), min(found.max_context_tokens, int(KV_RATIO * found.max_kv_tokens))


def _stepping(found: SimulatedDeployment) -> EngineSpec:
    return EngineSpec(
        fixed_s=found.fixed_us / 1e6,
        sequence_s=found.per_sequence_us / 1e6,
        kv_token_s=found.per_kv_token_us / 1e6,
        prompt_token_s=found.per_prefill_token_us / 1e6,
        step_tokens=found.max_batch_tokens,
        sequences=found.max_sequences,
        kv_tokens=found.max_kv_tokens,
        noise=found.noise_sigma,
        by_priority=True,
        context_tokens=found.max_context_tokens,
    )


def _batching(found: SimulatedDeployment) -> Engine:
    return Engine(
        base_s=found.fixed_us / 1e6,
        each_s=found.per_sequence_us / 1e6,
        token_s=found.per_prefill_token_us / 1e6,
        max_size=found.max_sequences,
        max_tokens=found.max_batch_tokens,
        sigma=found.noise_sigma,
        straggler_share=found.straggler_ratio,
    )


def _model_of(deployment: str | None, settings: Settings) -> ModelSettings:
    """The model of a deployment, for its classes and its distance from the broker; a usual one where there is none."""
    found = None if deployment is None else settings.models.get(names.model_of(deployment))
    return found or ModelSettings(stable="", classes=tuple(settings.classes))


def _chosen(wanted: Sequence[str] | None, scenario: Scenario) -> tuple[str, ...]:
    known = meanings_of(scenario)
    for name in wanted or ():
        if name not in known:
            kind = "batch continuously" if scenario.answers_stream else "run batches to completion"
            raise SettingsError(f"--policy {name} is not for engines that {kind}; there are: {', '.join(known)}")
    return tuple(dict.fromkeys(wanted or defaults_of(scenario)))


def _policies() -> str:
    streaming, whole = (
        f"{', '.join(meanings)} (default: {', '.join(defaults)})"
        for meanings, defaults in ((STREAMING, STREAMING_DEFAULTS), (WHOLE, WHOLE_DEFAULTS))
    )
    return f"repeatable; of engines that batch continuously: {streaming}; of those that run to completion: {whole}"


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < float("inf"):
        raise SettingsError(f"--mix gives the class {name} the share {text!r}; write a number above 0")
    return share


def _played(trace: Sequence[Arrival], requests: int, scenario: Scenario, policy: str) -> Outcome:
    tell(f"playing {requests:,} requests under {policy}")
    return play(trace, scenario, policy)
