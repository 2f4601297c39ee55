"""Shell variables that point every command and client at the local cluster: its Kafka, ClickHouse and settings file."""

import argparse
import shlex
import sys

from pipeline.cli.failures import FAILED, OK, tell
from pipeline.cli.local import add_name, folder_of
from pipeline.cli.output import emit_json
from pipeline.local import state

EXAMPLE = 'eval "$(millrace env)"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cluster."""
    add_name(parser)


def run(args: argparse.Namespace) -> int:
    """Print them as `export` lines; fails if the cluster does not run."""
    running = state.read(folder_of(args))
    if running is None:
        tell(f"error: cluster {args.name} does not run; `millrace up --detach` starts it")
        return FAILED
    if args.json:
        emit_json(running.environment)
    else:
        sys.stdout.writelines(f"export {key}={shlex.quote(value)}\n" for key, value in running.environment.items())
    return OK
