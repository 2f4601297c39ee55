"""Free TCP ports that stay free until their owner binds them, with any number of stacks side by side.

Asking the kernel for port 0, closing the socket and passing the number on is a race: between the close and the child's
bind another stack, or any outgoing connection, may get the same number. So ports are taken from below the kernel's
ephemeral range, which outgoing connections never use, and each is claimed by a lock on a file of its number in a
folder that all stacks of a user share. The kernel drops the lock when its holder dies. A program that binds a fixed
port in the range without asking can still collide: the claim also checks that nobody listens.
"""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST_PORT = 20_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_START = 32_768
_FEWEST_PORTS = 1_000


class Ports:
    """Ports claimed by one owner, for as long as it holds them. Thread-safe in no way: one owner, one thread."""

    def __init__(self) -> None:
        self._locks: list[IO[str]] = []

    def claim(self) -> int:
        """A port on 127.0.0.1 that nobody listens on and nobody else has claimed.

        Raises:
            OSError: every port of the range is taken.
        """
        first, end = port_range()
        # A random order: a port that a former stack used should not soon name another cluster to its late clients.
        for port in random.sample(range(first, end), end - first):
            lock = _locked(port)
            if lock is None:
                continue
            if _bindable(port):
                self._locks.append(lock)
                return port
            lock.close()
        raise OSError(f"no free TCP port in {first}..{end - 1} on 127.0.0.1; stop some listeners")

    def release(self) -> None:
        """Give all of them back. Idempotent."""
        while self._locks:
            self._locks.pop().close()


def port_range() -> tuple[int, int]:
    """First port and the one after the last that `Ports` uses: below the kernel's range for outgoing connections."""
    start = _USUAL_EPHEMERAL_START
    with contextlib.suppress(OSError):
        start = int(_EPHEMERAL_RANGE.read_text().split()[0])
    # A machine may be configured to use nearly everything for outgoing connections; then locks are what is left.
    return (FIRST_PORT, start) if start >= FIRST_PORT + _FEWEST_PORTS else (FIRST_PORT, _USUAL_EPHEMERAL_START)


def _locked(port: int) -> IO[str] | None:
    folder = Path(tempfile.gettempdir()) / f"millrace-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT does not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
