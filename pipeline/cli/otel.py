"""Export the trace as OpenTelemetry spans: one tree per request, to an OTLP receiver over HTTP.

The spans are made of what processors and workers write into the trace anyway, so that no request waits for them. They
hang below the span that the producer named in its `traceparent` header. Sampling is the producer's where it sent one;
`otel.sample_ratio` applies to the others, and requests that failed or expired are kept (`otel.keep_errors`).
"""

import argparse

from pipeline.cli.arguments import add_metrics_port, settings_of
from pipeline.cli.launch import launch

EXAMPLE = """\
millrace otel --set otel.endpoint=http://collector:4318
OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 millrace otel --set otel.sample_ratio=0.05"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where its numbers are."""
    add_metrics_port(parser)


def run(args: argparse.Namespace) -> int:
    """Run until asked to stop."""
    settings = settings_of(args)
    from pipeline.otel.main import main

    return launch(args, settings, lambda stop: main(settings, stop))
