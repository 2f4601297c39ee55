"""The engine core's process: ends with its parent, and gives way to the pipeline where it computes on the CPU.

vLLM runs its core in a child process and, on the CPU or over several GPUs, the model in children of that. The core's
children watch the core; nobody watches the core's parent, so that a worker killed with SIGKILL would leave an engine
behind that holds the GPU. The core therefore asks the kernel to be killed with its parent.

Source: prctl(2), PR_SET_PDEATHSIG. The signal comes when the *thread* ends that started the child.
"""

import contextlib
import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

CPU_NICENESS = 5
"""Priority of an engine on the CPU: it computes for seconds on end, the pipeline beside it for microseconds."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; end now if it has ended already.

    Does nothing where there is no such signal (other systems than Linux).
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed; the engine would outlive its worker")
    if os.getppid() != parent:
        os._exit(1)


def run(target: Callable[..., None], parent: int, niceness: int, *args: Any, **kwargs: Any) -> None:
    """What the child runs: the guard first, then what vLLM wanted to run."""
    die_with_parent(parent)
    if niceness:
        os.nice(niceness)
    target(*args, **kwargs)


class _GuardedContext:
    """A multiprocessing context whose processes are guarded; everything else is the context's own."""

    def __init__(self, context: BaseContext, niceness: int) -> None:
        self._context = context
        self._niceness = niceness

    # The name is multiprocessing's.
    def Process(self, *, target: Callable[..., None], **options: Any) -> BaseProcess:
        guarded = functools.partial(run, target, os.getpid(), self._niceness)
        process: BaseProcess = self._context.Process(target=guarded, **options)  # type: ignore[attr-defined]
        return process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


@contextlib.contextmanager
def guarded_children(niceness: int) -> Iterator[None]:
    """While it is entered, vLLM's engine cores are started guarded."""
    from vllm.v1.engine import utils

    original = utils.get_mp_context
    utils.get_mp_context = lambda: _GuardedContext(original(), niceness)
    try:
        yield
    finally:
        utils.get_mp_context = original
