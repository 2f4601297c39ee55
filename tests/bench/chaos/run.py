"""One run: a cluster, a hundred users, the blows of a plan, and the verdict over every answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.devstack.properties import BrokerSettings
from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.local.plan import Size
from tests.bench.chaos.evidence import keep
from tests.bench.chaos.hands import Hands
from tests.bench.chaos.judge import AnswerJudge, Violation
from tests.bench.chaos.ledger import Ledger
from tests.bench.chaos.plain import PlainAnswer, PlainReader
from tests.bench.chaos.plan import Blow
from tests.bench.chaos.rows import check_rows, final_rows, raw_doubles
from tests.bench.chaos.slots import SlotReader
from tests.bench.chaos.users import MODEL, PATIENCE, Question, Told, Users
from topics.names import dispatch_topic

CONFIG: Final = Path(__file__).with_name("millrace.toml")
SIZE: Final = Size(workers=3, processors=2, recorders=1)
USERS: Final = 100
AT_ONCE: Final = 3
"""Blows whose effects may overlap."""
WARM_UP_S: Final = 5.0
END_WITHIN_S: Final = 240.0
"""For the answers that are open when the last blow was dealt."""
SUMMARY_S: Final = 10.0
PLAIN_WITHIN_S: Final = 30.0


@dataclass(slots=True)
class Outcome:
    """What a run has shown.

    Attributes:
        accepted: request id and attempt of every answer with a terminal record, by origin.
        pauses_s: between the pieces that readers of the client library got.
        asked: requests that were sent.
        told: requests whose reader of the client library has the end.
        raw_doubles: requests with several final rows before the view has picked one.
    """

    violations: list[Violation] = field(default_factory=list)
    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)
    pauses_s: list[float] = field(default_factory=list)
    asked: int = 0
    told: int = 0
    raw_doubles: int = 0
    surprises: list[str] = field(default_factory=list)
    evidence: list[Path] = field(default_factory=list)


class Run:
    """Everything of one run that has a state; `whole` is the run.

    Args:
        cluster: started.
        blows: what is to happen.
        seed: of questions and victims.
        users: streams at a time.
    """

    def __init__(self, cluster: LocalCluster, blows: list[Blow], *, seed: int, users: int = USERS) -> None:
        settings = cluster.settings
        deployment = settings.models[MODEL].stable
        self.ledger = Ledger()
        self.outcome = Outcome()
        self._cluster = cluster
        self._blows = blows
        self._seed = seed
        self._users = users
        self._blamed: set[tuple[str, str, str]] = set()
        self._begin_s = time.monotonic()
        brokers = settings.kafka.brokers
        self._plain = PlainReader(brokers, settings.topics.response_partitions, self.ledger, self._on_ended)
        self.slots = SlotReader(brokers, dispatch_topic(deployment), settings.models[MODEL].slots, self.ledger)
        self._hands = Hands(
            cluster, self.ledger, session_s=settings.kafka.session_timeout_ms / 1000, seed=seed, say=self.say
        )

    async def whole(self, evidence: Path) -> Outcome:
        """Ask, strike, wait for the last answers, and judge; records of requests with violations go to `evidence`."""
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    Client(kafka=self._cluster.settings.kafka, reply_partition=p, timeouts=PATIENCE)
                )
                for p in range(2)
            ]
            users = Users(clients, seed=self._seed, on_ask=self._on_ask, on_told=self._on_told, blame=self._blame)
            for work in (self._plain.run(), self.slots.run(), self._hands.watch(), self._summaries()):
                stack.push_async_callback(_cancel, asyncio.create_task(work))
            asking = asyncio.create_task(users.run(self._users))
            try:
                await self._strike_all()
            finally:
                self._hands.wake_all()
                users.stop()
                await self._await_the_last(asking)
            await self._judge(evidence)
        return self.outcome

    def say(self, line: str) -> None:
        """One line with the time."""
        print(f"{time.monotonic() - self._begin_s:7.1f} s  {line}", flush=True)

    async def _strike_all(self) -> None:
        await asyncio.sleep(WARM_UP_S)
        free = asyncio.Semaphore(AT_ONCE)

        async def deal(blow: Blow) -> None:
            try:
                await self._hands.deal(blow)
            finally:
                free.release()

        async with asyncio.TaskGroup() as group:
            for number, blow in enumerate(self._blows, 1):
                await asyncio.sleep(blow.pause_s)
                await free.acquire()
                group.create_task(deal(blow), name=f"blow {number} of {len(self._blows)}")

    async def _await_the_last(self, asking: "asyncio.Task[None]") -> None:
        """Until every user has the end, and the plain reader too, or the time is up."""
        try:
            await asyncio.wait_for(asking, END_WITHIN_S)
            await _until(lambda: not self._plain.unended, within_s=PLAIN_WITHIN_S)
        except TimeoutError:
            self.say(f"{len(self._plain.unended)} answers have not ended in time")

    async def _judge(self, evidence: Path) -> None:
        outcome = self.outcome
        for answer in self._plain.unended:
            answer.judge.on_silence()
        outcome.surprises = self._hands.surprises
        rows = await final_rows(self._cluster.settings, set(outcome.accepted))
        for violation in check_rows(rows, outcome.accepted, doubled=self.slots.doubled):
            self._blame(violation)
        outcome.raw_doubles = await raw_doubles(self._cluster.settings)
        outcome.evidence = await keep(self._cluster.settings, outcome.violations, evidence)

    def _on_ask(self, question: Question) -> None:
        self.outcome.asked += 1
        judge = AnswerJudge(
            question.id, reader="plain", expected=question.expected, blame=self._blame, streams=question.streams
        )
        self._plain.expect(
            question.id, PlainAnswer(judge=judge, prompt_tokens=question.prompt_tokens, streams=question.streams)
        )

    def _on_told(self, told: Told) -> None:
        self.outcome.told += 1
        self.outcome.pauses_s += told.pauses_s

    def _on_ended(self, answer: PlainAnswer, request_id: str) -> None:
        self.outcome.accepted[answer.origin] = (request_id, answer.attempt or "")

    def _blame(self, violation: Violation) -> None:
        self.outcome.violations.append(violation)
        kind = (violation.request_id, violation.reader, violation.problem)
        if kind not in self._blamed:
            self._blamed.add(kind)
            self.say(
                f"VIOLATION seed {self._seed} {violation.request_id} {violation.reader} {violation.problem}: "
                f"{violation.detail}"
            )

    async def _summaries(self) -> None:
        while True:
            await asyncio.sleep(SUMMARY_S)
            outcome, ledger = self.outcome, self.ledger
            self.say(
                f"... {len(ledger.strikes)}/{len(self._blows)} blows, {outcome.told} of {outcome.asked} answers, "
                f"{ledger.open} running, starts {ledger.modes}, {len(outcome.violations)} violations"
            )


@asynccontextmanager
async def chaos_cluster(folder: Path, *, is_short_lived: bool = False) -> AsyncIterator[LocalCluster]:
    """The cluster of the bench in `folder`, ended with the block."""
    broker = BrokerSettings(min_session_timeout_ms=2000, is_short_lived=is_short_lived)
    cluster = LocalCluster(folder=folder, config=CONFIG, size=SIZE, broker=broker)
    try:
        await asyncio.to_thread(cluster.start)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


async def _until(check: Callable[[], bool], *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.1)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
