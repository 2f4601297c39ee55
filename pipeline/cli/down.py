"""Stop a local cluster and wait until it is gone. Its data stays and is there again after the next `millrace up`."""

import argparse
import time
from typing import Final

import psutil

from pipeline.cli.failures import FAILED, OK, tell
from pipeline.cli.local import add_name, folder_of
from pipeline.cli.output import emit_json
from pipeline.local import state

EXAMPLE = "millrace down"

LOOK_EVERY_S: Final = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cluster, and how long to wait."""
    add_name(parser)
    parser.add_argument(
        "--within", metavar="SECONDS", type=float, default=120.0, help="seconds to wait for it; default: %(default)g"
    )


def run(args: argparse.Namespace) -> int:
    """Ask the program that owns the cluster to stop; done at once where none runs."""
    running = state.read(folder_of(args))
    if running is None:
        tell(f"cluster {args.name} does not run")
        stopped = True
    else:
        stopped = _stop(running.pid, args.within)
        tell(f"cluster {args.name} {'is stopped' if stopped else f'still stops after {args.within:g} s'}")
    if args.json:
        emit_json({"name": args.name, "was_running": running is not None, "stopped": stopped})
    return OK if stopped else FAILED


def _stop(pid: int, within_s: float) -> bool:
    """SIGTERM, and wait for the end; whether it came."""
    try:
        owner = psutil.Process(pid)
        owner.terminate()
        give_up_at_s = time.monotonic() + within_s
        while not _is_gone(owner):
            if time.monotonic() >= give_up_at_s:
                return False
    except psutil.NoSuchProcess:
        return True
    return True


def _is_gone(owner: psutil.Process) -> bool:
    """Whether a process has ended, after waiting a moment for it. One that its parent did not collect has."""
    try:
        owner.wait(LOOK_EVERY_S)
    except psutil.TimeoutExpired:
        return bool(owner.status() == psutil.STATUS_ZOMBIE)
    return True
