"""Run a worker: it owns one engine replica of a deployment and answers what is dispatched to its slots.

Deployments on vLLM run in the engine's environment: `.venv-vllm/bin/python -m pipeline.worker` takes the same flags.

`drain ID` ends a worker, wherever it runs, without its clients noticing: it begins nothing more, hands back what does
not end within the grace period, and other workers go on with those answers at the next token. The command returns when
the worker has gone. Moving costs the prompt and the tokens so far once more; by default everything moves at once, a
grace period saves that for what is nearly done. SIGTERM does the same with a grace period of 20 s.
"""

import argparse

from pipeline.cli.arguments import add_metrics_port, settings_of
from pipeline.cli.launch import launch
from topics.errors import SettingsError

EXAMPLE = """\
millrace worker --deployment smollm2@v1
.venv-vllm/bin/python -m pipeline.worker --deployment smollm2@v1 --id gpu-7
millrace worker drain gpu-7 --grace 5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, or which worker to drain."""
    parser.add_argument("action", nargs="?", choices=("drain",), help="leave it out to run a worker")
    parser.add_argument(
        "worker", nargs="?", metavar="ID", help="drain: name of the worker, as `millrace status` has it"
    )
    add_metrics_port(parser)
    parser.add_argument("--deployment", metavar="D", help="run: deployment to serve, model@version")
    parser.add_argument(
        "--id",
        dest="worker_id",
        metavar="X",
        help="run: name in heartbeats and in the account; default: a random one",
    )
    parser.add_argument(
        "--grace", metavar="SECONDS", type=_seconds, default=0.0, help="drain: what ends within it is not moved"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="drain: how long to wait after the grace period; default: %(default)g",
    )
    parser.add_argument("--last", action="store_true", help="drain: even the only worker of a deployment")


def run(args: argparse.Namespace) -> int:
    """Run until asked to stop, or drain."""
    if args.action == "drain":
        return _drain(args)
    settings = settings_of(args)
    if args.deployment is None:
        raise SettingsError("which deployment? name it with --deployment, model@version")
    if args.deployment not in settings.deployments:
        known = ", ".join(sorted(settings.deployments)) or "none"
        raise SettingsError(f"--deployment {args.deployment!r} is not in the settings; there are: {known}")
    from pipeline.worker.main import main

    return launch(args, settings, lambda stop: main(settings, args.deployment, stop, worker_id=args.worker_id))


def _drain(args: argparse.Namespace) -> int:
    if args.worker is None:
        raise SettingsError("which worker? `millrace worker drain ID`, as `millrace status` shows it")
    from pipeline.cli import drain

    return drain.run(args)


def _seconds(text: str) -> float:
    """An argument that is a time in seconds, 0 or more."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time in seconds")
    return seconds
