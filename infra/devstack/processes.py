"""One child process: started, ready, stopped, and never left behind.

Every child leads a process group of its own with a *leash* in it: a shell that waits on a pipe whose other end only
this program holds. When this program ends, `kill -9` included, the kernel closes that end and the leash kills the
group, so that grandchildren (the engine core of vLLM) go too. A parent-death signal (prctl) would not reach them, would
fire when the thread that started the child ends, and needs code between fork and exec of a threaded program.

A process that leaves its group (`setsid`) is not covered.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.02
LOG_LINES_SHOWN = 25

# The pipe arrives as stdin and moves to 3. The group is this shell's, and after `exec` the command's; `kill 0` is
# everyone in it. The leash keeps no log open, and the command no pipe.
_LEASH = 'exec 3<&0 </dev/null; (while read -r _; do :; done; kill -KILL 0) <&3 3<&- >/dev/null 2>&1 & exec "$@" 3<&-'


class ChildError(RuntimeError):
    """A child ended or did not get ready; the message ends with the last lines of its log."""


class Child:
    """A child process with a log file, a readiness check and an orderly end.

    It can be started again after it ended; the log is appended to. Methods block; none may be called from two threads
    at once, and all may be called from any thread (`start_async` and `stop_async` do so for asyncio programs).

    Args:
        name: what it is called in errors and in logs.
        command: program and arguments; no shell.
        log: file for stdout and stderr; its folder is made.
        ready: asked every 20 ms after the start; the child is ready when it returns True. None: ready at once.
        ready_within_s: seconds from the start to readiness.
        stop_within_s: seconds between SIGTERM and SIGKILL.
        env: added to this program's environment.
        cwd: working directory; this program's by default.
    """

    def __init__(
        self,
        *,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        ready: "Callable[[Child], bool] | None" = None,
        ready_within_s: float = 60.0,
        stop_within_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(str(part) for part in command)
        self.log = log
        self._ready = ready
        self._ready_within_s = ready_within_s
        self._stop_within_s = stop_within_s
        self._env = dict(env or {})
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: int | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Process id of the running child, which is its group id as well.

        Raises:
            ChildError: it was never started.
        """
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status of the last run, negative for a signal; None while it runs or before the first start."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ChildError: it runs already, it ended before it was ready, or it was not ready in time (it is killed then).
        """
        self.spawn()
        try:
            self.wait_ready()
        except BaseException:  # Ctrl-C while waiting, too
            self.kill()
            raise

    def spawn(self) -> None:
        """Start it without waiting for readiness: for children that get ready side by side."""
        if self.alive:
            raise ChildError(f"{self.name} runs already (pid {self.pid}); stop it first")
        self._sweep()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        leash_end, our_end = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = self._popen(log.fileno(), leash_end)
        except BaseException:
            os.close(our_end)
            raise
        finally:
            os.close(leash_end)
        self._leash = our_end

    def wait_ready(self) -> None:
        """Wait until the readiness check says yes; the time counts from this call.

        Raises:
            ChildError: it ended, or the time was up.
        """
        give_up_at_s = time.monotonic() + self._ready_within_s
        while not (self._ready is None or self._ready(self)):
            if not self.alive:
                raise ChildError(f"{self.name} ended with status {self.returncode} before it was ready{self._why()}")
            if time.monotonic() >= give_up_at_s:
                raise ChildError(f"{self.name} was not ready within {self._ready_within_s:g} s{self._why()}")
            time.sleep(POLL_S)

    def stop(self) -> int | None:
        """SIGTERM to the child alone, so that it can end its own children; after `stop_within_s` SIGKILL to the group.

        Idempotent; whatever is left of the group when the child has ended is killed. Returns the exit status.
        """
        if self._process is not None and self.alive:
            self.send(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):  # then it is killed
                self._process.wait(self._stop_within_s)
        return self.kill()

    def kill(self) -> int | None:
        """`kill -9` of the whole group, and wait until the child is gone. Idempotent. Returns the exit status."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._sweep()
        return None if self._process is None else self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send one signal to the child alone (its own children get none). Nothing happens when it has ended."""
        self._started().send_signal(number)

    def wait(self, *, within_s: float) -> int:
        """Wait until it ends by itself; the exit status.

        Raises:
            ChildError: it still runs after `within_s` seconds.
        """
        try:
            return self._started().wait(within_s)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{self.name} (pid {self.pid}) still runs after {within_s:g} s{self._why()}") from None

    async def start_async(self) -> None:
        """`start` without blocking the event loop."""
        await asyncio.to_thread(self.start)

    async def stop_async(self) -> int | None:
        """`stop` without blocking the event loop."""
        return await asyncio.to_thread(self.stop)

    def log_text(self) -> str:
        """What the last run has written so far."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _popen(self, log: int, leash_end: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, self.name, *self.command],
            stdin=leash_end,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._env},
            cwd=self._cwd,
            start_new_session=True,
        )

    def _sweep(self) -> None:
        """Let go of the leash: it kills what is left of the group, and cannot hit a stranger that got an old pid."""
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise ChildError(f"{self.name} was never started; call start() first")
        return self._process

    def _why(self) -> str:
        lines = self.log_text().splitlines()[-LOG_LINES_SHOWN:]
        shown = "".join(f"\n  | {line}" for line in lines) or "\n  | (nothing was logged)"
        return f"; the end of {self.log}:{shown}"
