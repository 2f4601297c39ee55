"""Run the recorder: it writes the trace into ClickHouse, each row once, and serves the embedded engine over HTTP."""

import argparse

from pipeline.cli.arguments import add_metrics_port, settings_of
from pipeline.cli.launch import launch

EXAMPLE = "millrace recorder --set clickhouse.url=http://clickhouse:8123"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where its numbers are."""
    add_metrics_port(parser)


def run(args: argparse.Namespace) -> int:
    """Run until asked to stop."""
    settings = settings_of(args)
    from pipeline.recorder.main import main

    return launch(args, settings, lambda stop: main(settings, stop))
