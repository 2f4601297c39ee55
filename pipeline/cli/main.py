"""`millrace`: finds the command on the line, imports its module and no other, and runs it.

Output on stdout is data, talk goes to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from pipeline.cli.arguments import add_globals
from pipeline.cli.failures import USAGE, guarded


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its name, its module in `pipeline.cli`, and what `millrace --help` says about it.

    The module has `EXAMPLE`, `add_arguments(parser)` and `run(args) -> int`; its docstring is the command's help.
    """

    name: str
    summary: str

    def load(self) -> ModuleType:
        """The command's module."""
        return importlib.import_module(f"pipeline.cli.{self.name}")


GROUPS: Final[dict[str, tuple[Command, ...]]] = {
    "use": (
        Command(name="ask", summary="ask a model a question and see the answer as it is made"),
        Command(name="submit", summary="run a file of requests and collect their answers, resumably"),
        Command(name="tail", summary="follow the records of one request on the response topics"),
        Command(name="cancel", summary="end a request, wherever it is"),
        Command(name="sql", summary="query the account in ClickHouse"),
        Command(name="trace", summary="where one request spent its time: a waterfall of its attempts"),
        Command(name="report", summary="an HTML page about a range of time: latency, batches, GPU time, cost"),
    ),
    "look": (
        Command(name="status", summary="lanes, workers, recorder and ClickHouse at this moment"),
        Command(name="explain", summary="one request's story in plain sentences"),
        Command(name="doctor", summary="what is wrong, and how to mend it"),
        Command(name="config", summary="the resolved settings"),
        Command(name="topics", summary="list, create or verify the topics"),
        Command(name="dlq", summary="dead letters: list, show, replay or purge them"),
        Command(name="simulate", summary="what if: play a recorded trace through the scheduler in virtual time"),
        Command(name="migrate", summary="plan, apply or show the account's schema"),
        Command(name="erase", summary="remove what the account keeps of a request or a tenant"),
    ),
    "local cluster": (
        Command(name="up", summary="start Kafka, ClickHouse, processors and workers on this machine"),
        Command(name="env", summary="variables that point a shell at the local cluster"),
        Command(name="down", summary="stop the local cluster"),
    ),
    "processes": (
        Command(name="processor", summary="queue, batch and route the requests of some models"),
        Command(name="worker", summary="run one engine replica of a deployment, or drain one"),
        Command(name="recorder", summary="write the trace into ClickHouse"),
        Command(name="otel", summary="export the trace as OpenTelemetry spans"),
    ),
}
EXAMPLE: Final = 'millrace ask "What is the capital of France?" --model smollm2'
LOG_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"
LIBRARIES: Final = ("aiokafka", "asyncio", "clickhouse_connect", "urllib3.connectionpool")
COMMANDS: Final = {command.name: command for group in GROUPS.values() for command in group}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default) and return its exit code."""
    return guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    try:
        args = root_parser().parse_args(argv)
        if args.command is None:
            root_parser().print_help(sys.stderr)
            return USAGE
        module = COMMANDS[args.command].load()
        command_parser(args.command, module).parse_args(args.rest, namespace=args)
    except SystemExit as end:  # argparse has told why
        return int(end.code or 0)
    configure_logs(args.log_level)
    code: int = module.run(args)
    return code


def configure_logs(level: str | None) -> None:
    """Logs of commands: what goes wrong is told in one line at the end, so libraries speak only if asked to.

    Processes configure theirs anew when they start.
    """
    logging.basicConfig(level=level or "ERROR", format=LOG_FORMAT, stream=sys.stderr)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(level or "CRITICAL")


def root_parser() -> argparse.ArgumentParser:
    """Parser of the global flags and the command's name; everything after the name is left to the command."""
    parser = argparse.ArgumentParser(
        prog="millrace",
        usage="millrace [--config FILE] [--set KEY=VALUE] [--json] [--log-level LEVEL] COMMAND ...",
        description=f"Streaming inference: requests from Kafka to GPUs, tokens back to Kafka.\n\n{_overview()}",
        epilog=f"example:\n{_indented(EXAMPLE)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_globals(parser)
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def command_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """Parser of what follows the name of a command."""
    parser = argparse.ArgumentParser(
        prog=f"millrace {name}",
        description=module.__doc__,
        epilog=f"example:\n{_indented(module.EXAMPLE)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    add_globals(parser, again=True)
    return parser


def _overview() -> str:
    lines = []
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {command.name:<11}{command.summary}" for command in commands), ""]
    return "\n".join([*lines, "`millrace COMMAND --help` says more about each."])


def _indented(example: str) -> str:
    return "\n".join(f"  {line}" for line in example.strip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
