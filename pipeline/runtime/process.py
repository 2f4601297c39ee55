"""Running a process: event loop, signals, logs. SIGTERM or SIGINT asks it to stop, a second one stops it at once."""

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop

from pipeline.runtime.logs import SeldomRepeated

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

READY_FILE: Final = "MILLRACE_READY_FILE"
"""Environment variable: a file that is there while the process serves, for supervisors and probes."""

LIBRARIES: Final = ("aiokafka", "faust", "mode", "asyncio", "kafka")

Main = Callable[[asyncio.Event], Awaitable[int]]


def run(main: Main, *, log_level: str = "INFO") -> int:
    """Run `main(stop)` to its end and return its exit code.

    The first SIGTERM or SIGINT sets `stop`; a second one ends the process at once with status 128 + signal.
    """
    configure_logging(log_level)
    faulthandler.enable()
    _withdraw_ready()  # a file of a former run must not speak for this one
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_supervised(main))
    finally:
        _withdraw_ready()


def configure_logging(level: str) -> None:
    """Log lines to stderr; libraries only where they warn, and the same warning seldom."""
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr, force=True)
    for handler in logging.getLogger().handlers:
        handler.addFilter(SeldomRepeated(*LIBRARIES))
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


def settle_memory() -> None:
    """Call when start-up is done: what lives now lives long, so collections need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def announce_ready() -> None:
    """Say that the process serves: make the file that `MILLRACE_READY_FILE` names, if it names one."""
    named = os.environ.get(READY_FILE)
    if named:
        Path(named).write_text(f"{os.getpid()}\n")


def _withdraw_ready() -> None:
    named = os.environ.get(READY_FILE)
    if named:
        Path(named).unlink(missing_ok=True)


async def _supervised(main: Main) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, _on_signal, stop, signum)
    return await main(stop)


def _on_signal(stop: asyncio.Event, signum: int) -> None:
    if stop.is_set():
        os._exit(128 + signum)
    stop.set()
