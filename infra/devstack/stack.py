"""A stack: one folder, some child processes, started in order and stopped in the reverse order, whatever happens.

It knows how to run things and not what they are for: callers bring the command lines. Several stacks live side by side;
they share no port, no folder and no process.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

from infra.devstack.kafka import KafkaBroker
from infra.devstack.ports import Ports
from infra.devstack.processes import Child
from infra.devstack.progress import say
from infra.devstack.properties import BrokerSettings


class ChildOptions(TypedDict, total=False):
    """What may be said about a child beside its name and command; `Child` tells what each means."""

    ready: Callable[[Child], bool] | None
    ready_within_s: float
    stop_within_s: float
    env: Mapping[str, str] | None
    cwd: Path | None


class Stack:
    """A context (`with`, or `async with` in asyncio programs) that ends what was started in it.

    Methods block and may be called through `asyncio.to_thread`, one at a time.
    Leaving the block stops the children, last started first, after an exception and after Ctrl-C too; a stop that fails
    does not keep the others from being stopped. Logs are in `logs/NAME.log`, data in `data/`.

    Args:
        folder: kept when the block ends. None: a temporary one, removed at the end unless the block failed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-")) if folder is None else folder
        self.logs = self.folder / "logs"
        self.data = self.folder / "data"
        self.children: dict[str, Child] = {}
        self._ports = Ports()
        self._at_end = ExitStack()

    def __enter__(self) -> Self:
        """Make the folders."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self._at_end.callback(self._ports.release)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything; remove a temporary folder, or say where the logs of a failed block are."""
        self._at_end.close()
        if self._temporary and kind is None:
            shutil.rmtree(self.folder)
        elif self._temporary:
            say(f"logs and data of the stack are kept in {self.folder}")

    async def __aenter__(self) -> Self:
        """As `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `__exit__`, without blocking the event loop."""
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, traceback))

    def port(self) -> int:
        """A free port on 127.0.0.1 that is this stack's until the block ends."""
        return self._ports.claim()

    def kafka(self, settings: BrokerSettings | None = None) -> KafkaBroker:
        """Start a broker, its data in `data/kafka`, and wait until it is ready. One a stack.

        Raises:
            ChildError: it did not get ready.
        """
        broker = KafkaBroker(folder=self.data / "kafka", log=self.logs / "kafka.log", settings=settings)
        self._at_end.callback(broker.close)
        broker.start()
        return broker

    def child(self, name: str, command: Sequence[str | Path], **options: Unpack[ChildOptions]) -> Child:
        """A child of this stack that is not started yet; it ends with the block at the latest.

        Raises:
            ValueError: the stack has a child of that name.
        """
        if name in self.children:
            raise ValueError(f"this stack has a child {name!r} already; start that one again or choose another name")
        child = Child(name=name, command=command, log=self.logs / f"{name}.log", **options)
        self.children[name] = child
        self._at_end.callback(child.stop)
        return child

    def start(self, name: str, command: Sequence[str | Path], **options: Unpack[ChildOptions]) -> Child:
        """Make a child, start it and wait until it is ready.

        Raises:
            ValueError: the stack has a child of that name.
            ChildError: it did not get ready.
        """
        child = self.child(name, command, **options)
        child.start()
        return child

    async def start_async(self, name: str, command: Sequence[str | Path], **options: Unpack[ChildOptions]) -> Child:
        """`start` without blocking the event loop."""
        child = self.child(name, command, **options)
        await child.start_async()
        return child
