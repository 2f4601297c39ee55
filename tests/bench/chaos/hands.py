"""The hands that strike, and the supervisor that starts again what has ended: children of this program, no others.

One process is struck once at a time, one worker at least stays alive and awake, and what ends without having been
struck is started again too, and counted.
"""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from typing import Final

from aiokafka.errors import KafkaError

from infra.devstack.processes import Child, ChildError
from pipeline.cli.drain import drain
from pipeline.local.cluster import LocalCluster
from tests.bench.chaos.ledger import EFFECT_S, Ledger, Strike
from tests.bench.chaos.plan import Blow, Fault
from tests.eventually import eventually
from topics.errors import PipelineError

HELD_AT_LEAST: Final = 20
"""Streams that a worker holds when it is struck."""
FIND_S: Final = 90.0
"""So long a blow waits for a process that is worth it."""
DRAIN_S: Final = 60.0
AWAKE_S: Final = 1.0
"""What was frozen or away is felt for so long after it has come back."""
KINDS: Final = {
    Fault.WORKER_KILL: "worker",
    Fault.WORKER_ZOMBIE: "worker",
    Fault.DRAIN: "worker",
    Fault.PROCESSOR_KILL: "processor",
    Fault.PROCESSOR_ZOMBIE: "processor",
    Fault.RECORDER_KILL: "recorder",
}

Say = Callable[[str], None]


class Hands:
    """Deals blows to the processes of a cluster.

    Args:
        cluster: a started one.
        ledger: knows which worker holds what; is told of every strike.
        session_s: the group's session time-out.
        seed: draws who is struck.
        say: one line per strike and per surprise.
    """

    def __init__(self, cluster: LocalCluster, ledger: Ledger, *, session_s: float, seed: int, say: Say) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._session_s = session_s
        self._rng = random.Random(seed)
        self._say = say
        self._busy: set[str] = set()
        self._broker_is_up = asyncio.Event()
        self._broker_is_up.set()
        self.surprises: list[str] = []
        """What nobody had asked for: processes that ended by themselves, did not start or did not end."""

    async def deal(self, blow: Blow) -> None:
        """Do it, and return when the process serves again."""
        if blow.fault is Fault.BROKER_RESTART:
            await self._restart_broker(blow)
            return
        name = await self._choose(blow.fault)
        try:
            await self._strike(name, blow)
        finally:
            self._busy.discard(name)

    async def watch(self) -> None:
        """Start again what ends by itself, until cancelled."""
        while True:
            await asyncio.sleep(0.2)  # nothing announces the end of a child
            for name, child in self._cluster.children.items():
                if name not in self._busy and not child.alive:
                    self._busy.add(name)
                    broker = "up" if self._broker_is_up.is_set() else "down"
                    self._wonder(f"{name} ended with status {child.returncode}, broker {broker}; see {child.log}")
                    try:
                        await self._start(name)
                    finally:
                        self._busy.discard(name)

    def wake_all(self) -> None:
        """Let go of everything that is frozen."""
        for child in self._cluster.children.values():
            if child.alive:
                child.send(signal.SIGCONT)

    async def _choose(self, fault: Fault) -> str:
        """A process of the right kind; for workers, one that holds enough while another one is there."""

        def found() -> str:
            if not self._broker_is_up.is_set():
                return ""
            free = self._free(KINDS[fault])
            if KINDS[fault] != "worker":
                return self._rng.choice(free) if free else ""
            laden = [name for name in free if len(self._ledger.held_by(name)) >= HELD_AT_LEAST]
            return self._rng.choice(laden) if laden and len(free) > 1 else ""

        name = await eventually(found, within_s=FIND_S)
        self._busy.add(name)
        return name

    def _free(self, kind: str) -> list[str]:
        return [
            name for name in self._cluster.names(kind) if name not in self._busy and self._cluster.children[name].alive
        ]

    async def _strike(self, name: str, blow: Blow) -> None:
        child, strike = self._cluster.children[name], self._begin(blow.fault, name)
        match blow.fault:
            case Fault.WORKER_ZOMBIE | Fault.PROCESSOR_ZOMBIE:
                child.send(signal.SIGSTOP)
                await asyncio.sleep(self._session_s + blow.lasts_s)
                child.send(signal.SIGCONT)
                strike.until_s = time.time() + AWAKE_S
            case Fault.DRAIN:
                await self._drain(child)
                strike.until_s = time.time()
                await self._start(name)
            case _:
                await asyncio.to_thread(child.kill)
                await asyncio.sleep(blow.lasts_s)
                await self._start(name)

    async def _drain(self, child: Child) -> None:
        """As `millrace worker drain` does: the streams go on elsewhere at once, and the process ends."""
        try:
            await drain(self._cluster.settings, child.name, grace_s=0.0, timeout_s=DRAIN_S)
            await asyncio.to_thread(child.wait, within_s=DRAIN_S)
        except (PipelineError, KafkaError, ChildError) as error:
            self._wonder(f"{child.name} did not drain: {_gist(error)}")
        await asyncio.to_thread(child.kill)

    async def _restart_broker(self, blow: Blow) -> None:
        await asyncio.wait_for(self._broker_is_up.wait(), FIND_S)
        self._broker_is_up.clear()
        broker, strike = self._cluster.broker, self._begin(Fault.BROKER_RESTART, "kill -9" if blow.is_hard else "stop")
        await asyncio.to_thread(broker.kill if blow.is_hard else broker.stop)
        await asyncio.sleep(blow.lasts_s)
        while not broker.alive:
            try:
                await asyncio.to_thread(broker.start)
            except ChildError as error:
                self._wonder(f"the broker did not start: {_gist(error)}")
        self._broker_is_up.set()
        strike.until_s = time.time() + AWAKE_S

    async def _start(self, name: str) -> None:
        """Start a process while there is a broker, and again if it ends before it serves."""
        child = self._cluster.children[name]
        while True:
            await self._broker_is_up.wait()
            (self._cluster.folder / "ready" / name).unlink(missing_ok=True)
            try:
                await asyncio.to_thread(child.start)
                return
            except ChildError as error:
                self._wonder(f"{name} did not start: {_gist(error)}")

    def _wonder(self, surprise: str) -> None:
        self.surprises.append(surprise)
        self._say(f"SURPRISE {surprise}")

    def _begin(self, fault: Fault, target: str) -> Strike:
        held = self._ledger.held_by(target) if KINDS.get(fault) == "worker" else {}
        now_s = time.time()
        strike = Strike(fault=fault, target=target, at_s=now_s, until_s=now_s + EFFECT_S, held=held)
        self._ledger.strikes.append(strike)
        self._say(f"{fault:18} {target:20} holding {len(held)} of {self._ledger.open} open")
        return strike


def _gist(error: BaseException) -> str:
    """First and last line: what happened, and the last that the process has said."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1][:300]}"
