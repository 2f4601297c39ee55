"""Run a processor: it reads the lanes of its models, queues by deadline, batches and dispatches by credit.

Any number may run; those of one model share its shards, and the others stand by.
"""

import argparse

from pipeline.cli.arguments import add_metrics_port, settings_of
from pipeline.cli.launch import launch
from pipeline.settings import Settings
from topics.errors import SettingsError

EXAMPLE = "millrace processor --model smollm2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be processed."""
    add_metrics_port(parser)
    parser.add_argument(
        "--model",
        dest="models",
        metavar="M",
        action="append",
        required=True,
        help="model to process; repeat the flag for several in one process",
    )


def run(args: argparse.Namespace) -> int:
    """Run until asked to stop."""
    settings = settings_of(args)
    models = _known(args.models, settings)
    from pipeline.processor.main import main

    return launch(args, settings, lambda stop: main(settings, models, stop))


def _known(models: list[str], settings: Settings) -> tuple[str, ...]:
    for model in models:
        if model not in settings.models:
            known = ", ".join(sorted(settings.models)) or "none"
            raise SettingsError(f"--model {model!r} is not in the settings; there are: {known}")
    return tuple(dict.fromkeys(models))
