"""The topics that the settings ask for: list them, create what is missing, or verify what a cluster has.

`create` adds topics and partitions and changes nothing that exists; `verify` exits with 1 if anything differs.
"""

import argparse
import asyncio
from collections.abc import Sequence

import msgspec

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import FAILED, OK, reaching_kafka, tell
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.views.topics import catalogue_table, findings_table, made_of, made_table
from pipeline.runtime import topics
from pipeline.runtime.topics import Finding
from pipeline.settings import Settings
from topics.catalogue import catalogue

EXAMPLE = """\
millrace topics create --set kafka.brokers=kafka:9092 --set kafka.replication=3
millrace topics verify --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do."""
    parser.add_argument("action", choices=("list", "create", "verify"), help="what to do")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    settings = settings_of(args)
    if args.action == "list":
        wanted = catalogue(settings.layout())
        emit_json(wanted) if args.json else terminal().print(catalogue_table(wanted))
        return OK
    with reaching_kafka(settings.kafka.brokers):
        return _create(args, settings) if args.action == "create" else _verify(args, settings)


def _create(args: argparse.Namespace, settings: Settings) -> int:
    before = asyncio.run(topics.create(settings.kafka, catalogue(settings.layout())))
    if args.json:
        emit_json([{"topic": found.topic.name, "made": made_of(found)} for found in before])
    else:
        terminal().print(made_table(before))
    if any(found.differences for found in before):
        tell("settings of existing topics were left as they are; change them with kafka-configs.sh --alter")
    return OK


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    found = asyncio.run(topics.verify(settings.kafka, catalogue(settings.layout())))
    wrong = [finding for finding in found if not finding.is_right]
    if args.json:
        emit_json(_report(found))
    else:
        terminal().print(findings_table(found))
    if wrong:
        tell(f"{len(wrong)} of {len(found)} topics are not as the settings want them; `millrace topics create` helps")
    return FAILED if wrong else OK


def _report(found: Sequence[Finding]) -> list[dict[str, object]]:
    return [
        {
            "topic": finding.topic.name,
            "is_right": finding.is_right,
            "partitions": finding.partitions,
            "expected": msgspec.to_builtins(finding.topic),
            "differences": finding.differences,
        }
        for finding in found
    ]
