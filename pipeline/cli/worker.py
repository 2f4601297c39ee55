"""Run a worker: it owns one engine replica of a deployment and answers what is dispatched to its slots.

Deployments on vLLM run in the engine's environment: `.venv-vllm/bin/python -m pipeline.worker` takes the same flags.
"""

import argparse

from pipeline.cli.arguments import add_metrics_port, settings_of
from pipeline.cli.launch import launch
from topics.errors import SettingsError

EXAMPLE = """\
millrace worker --deployment smollm2@v1
.venv-vllm/bin/python -m pipeline.worker --deployment smollm2@v1 --id gpu-7"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which deployment, and under which name."""
    add_metrics_port(parser)
    parser.add_argument("--deployment", metavar="D", required=True, help="deployment to serve, model@version")
    parser.add_argument(
        "--id", dest="worker_id", metavar="X", help="name in heartbeats and in the account; default: made of the host"
    )


def run(args: argparse.Namespace) -> int:
    """Run until asked to stop."""
    settings = settings_of(args)
    if args.deployment not in settings.deployments:
        known = ", ".join(sorted(settings.deployments)) or "none"
        raise SettingsError(f"--deployment {args.deployment!r} is not in the settings; there are: {known}")
    from pipeline.worker.main import main

    return launch(args, settings, lambda stop: main(settings, args.deployment, stop, worker_id=args.worker_id))
