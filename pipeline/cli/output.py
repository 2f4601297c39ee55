"""Data on stdout: JSON for programs, rich renderables for people."""

import os
import sys
from typing import Any, Final

import msgspec
from rich.console import Console

PIPED_WIDTH: Final = 120
"""Columns where stdout is no terminal, so that tables in files and pipes are not squeezed into 80."""


def terminal() -> Console:
    """A console on stdout as it is now."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False)


def talk() -> Console:
    """A console on stderr: progress and summaries."""
    return Console(file=sys.stderr, highlight=False)


def emit_json(value: Any) -> None:
    """One indented JSON document; `value` is made of plain values, dataclasses and structs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def emit_json_line(value: Any) -> None:
    """One JSON value on one line, out at once: for what comes bit by bit."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
