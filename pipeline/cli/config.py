"""The settings as they come out of flags, environment, file and defaults; secrets are masked.

The output is a settings file: save it, fill in the secrets, and it resolves to the same.
"""

import argparse
import sys

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK
from pipeline.cli.output import emit_json
from pipeline.settings import masked
from pipeline.settings.toml import dumps

EXAMPLE = "millrace config show --set kafka.brokers=kafka:9092 > millrace.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do."""
    parser.add_argument("action", choices=("show",), nargs="?", default="show", help="what to do")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    tree = masked(settings_of(args))
    if args.json:
        emit_json(tree)
    else:
        sys.stdout.write(dumps(tree))
    return OK
