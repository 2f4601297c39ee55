"""Expensive things are made once a machine, whole or not at all, however many processes ask at the same time.

A lock file serialises the makers, a temporary neighbour takes the work, and a rename publishes it: a reader that finds
the target finds all of it, after a power cut as well as after `kill -9`.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold the lock file alone until the block ends. The kernel frees it when the holder dies; the file stays."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """The folder `target`, made by `make(empty folder)` unless it is there already. Idempotent; safe between processes.

    Raises:
        Whatever `make` raises; then nothing is left behind.
    """
    if target.is_dir():
        return target
    with exclusive(target.with_name(f".{target.name}.lock")):
        if not target.is_dir():  # another process may have made it while this one waited
            _make_and_publish(target, make)
    return target


def _make_and_publish(target: Path, make: Callable[[Path], None]) -> None:
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed maker left; its lock is gone, so it is too
    unfinished.mkdir()
    try:
        make(unfinished)
        os.sync()  # contents before the name: a rename must not survive a power cut that its files did not
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
