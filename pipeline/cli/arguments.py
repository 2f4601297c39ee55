"""Arguments that every command takes, and the settings that follow from them.

Imports neither rich nor a broker client, so that the worker's entry in the engine's environment shares it.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from pipeline.settings import Settings, load
from topics import names
from topics.errors import SettingsError

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


def add_globals(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """The global flags. They may stand before and after the command's name; what stands after it wins.

    Args:
        parser: gets the flags.
        again: for the second parser of one line: without defaults, so that it does not undo what the first has read.
    """
    group = parser.add_argument_group("every command")
    absent = argparse.SUPPRESS if again else None
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=absent,
        help="settings file; default: $MILLRACE_CONFIG, else ./millrace.toml",
    )
    group.add_argument(
        "--set",
        dest="flags",
        metavar="KEY=VALUE",
        action="append",
        default=argparse.SUPPRESS if again else [],
        help="one setting, e.g. kafka.brokers=host:9092; repeatable, wins over file and environment",
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if again else False,
        help="print JSON instead of tables and text",
    )
    group.add_argument(
        "--log-level",
        metavar="LEVEL",
        choices=LOG_LEVELS,
        type=str.upper,
        default=absent,
        help="log lines on stderr from DEBUG, INFO, WARNING or ERROR on; default: INFO for processes, ERROR otherwise",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings resolved from the flags of a command line, the environment and the file.

    Raises:
        SettingsError: as `pipeline.settings.load`.
    """
    port = getattr(args, "metrics_port", None)
    flags = args.flags if port is None else [*args.flags, f"metrics.port={port}"]
    return load(args.config, environ=os.environ, flags=flags)


def add_metrics_port(parser: argparse.ArgumentParser) -> None:
    """`--metrics-port`: of the processes that share a settings file, each on one machine needs a port of its own."""
    parser.add_argument(
        "--metrics-port",
        metavar="PORT",
        type=int,
        help="serve /metrics there, 0 for any free port; default: metrics.port of the settings, else not at all",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """`--model`, which may be left out where the settings know one model only."""
    parser.add_argument("--model", metavar="M", help="model as clients call it; default: the only one of the settings")


def model_of(args: argparse.Namespace, settings: Settings) -> str:
    """The model that a command is about.

    Raises:
        SettingsError: none was named and the settings do not have exactly one, or it is no name.
    """
    model: str | None = args.model
    if model is None:
        known = sorted(settings.models)
        if len(known) != 1:
            raise SettingsError(f"which model? name it with --model; the settings have: {', '.join(known) or 'none'}")
        return known[0]
    if not names.is_name(model):
        raise SettingsError(f"--model {model!r} is no name: use lower-case letters, digits and single hyphens")
    return model


def positive(text: str) -> int:
    """An argument that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
