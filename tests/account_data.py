"""An account of some minutes of traffic, made in plain Python, with everything that goes wrong in it.

Crashes of a worker's process, deaths of an engine inside a living worker, take-overs, second ends of a request,
rows that are told twice, hand-backs, cancellations, expiries, rejections, failures, cached prompts, answers out of the
cache and coalesced ones. Engine time is handed out in whole nanoseconds, so sums can be checked to the last of them.
Which end counts is what `topics.reader` makes of the log of responses, which the plant keeps beside its rows.

`an_account()` makes the rows; `fill()` puts them into a migrated database; `tests.account_server` serves such a one.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec
import pyarrow as pa

from sinks.clickhouse.store import Store, quoted
from topics import names
from topics.reader import Reader, Verdict
from topics.responses import Completed, Response, Started
from topics.trace import (
    SCHEMAS,
    TABLES,
    BatchRow,
    EventRow,
    FeedbackRow,
    GpuRow,
    RequestRow,
    Row,
    StepRow,
    decode_rows,
    encode_rows,
)

SECOND_US: Final = 1_000_000
NS: Final = 1_000_000_000
CLASSES: Final = ("realtime", "interactive", "bulk")
TENANTS: Final = ("acme", "globex", "initech", "umbrella")
WHOLE_BATCHES: Final = ("large",)
"""Models of which batches are predicted, as of engines that run them to completion."""
CAPACITY: Final = 8
QUIET_S: Final = 90
"""Seconds at the end in which nothing arrives, so that everything ends."""
MESSAGE_ROWS: Final = 500

STEP_US: Final = 8_000
TOKEN_US: Final = 300
PROMPT_TOKEN_US: Final = {"L4": 120, "H100": 40}
"""What engines take for a step, for each token out of it, and for a prompt token by type of GPU."""

PRICES: Final = (
    ("L4", "on_demand", 0.8),
    ("L4", "reserved", 0.5),
    ("H100", "on_demand", 4.0),
    ("H100", "reserved", 2.5),
)
OBJECTIVE: Final = 0.9
TARGETS: Final = {"realtime": (400.0, 60.0, 0.0), "interactive": (1000.0, 80.0, 0.0), "bulk": (0.0, 0.0, 60_000.0)}
"""By class: milliseconds to the first token, per token, to the end; 0 where nothing is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A worker of the plant: what it runs and when it dies (an engine while it works). Seconds since the beginning."""

    worker: str
    deployment: str
    gpu: str
    gpus: int
    crashes_s: int = 0
    engine_dies_s: int = 0
    stays: bool = False


MACHINES: Final = (
    Machine(worker="tiny-a", deployment="tiny@v1", gpu="L4", gpus=1, crashes_s=300),
    Machine(worker="tiny-b", deployment="tiny@v1", gpu="L4", gpus=1, engine_dies_s=420),
    Machine(worker="tiny-c", deployment="tiny@v2", gpu="H100", gpus=2, crashes_s=500),
    Machine(worker="large-a", deployment="large@v1", gpu="H100", gpus=2, stays=True),
)


class Rival(NamedTuple):
    """Another attempt that ends a request, beside the one that runs it. Microseconds from that one's start and end."""

    name: str
    hops: int
    mode: Literal["fresh", "resume"]
    starts_us: int
    ends_us: int


RIVALS: Final = {
    "zombie": Rival("heir", 1, "resume", 20_000, 900),
    "twin": Rival("twin", 0, "fresh", 500, -800),
    "frozen": Rival("taker", 0, "resume", 20_000, -700),
}
"""By fate: dispatched again as its worker was thought dead, dispatched twice, taken over as its worker stood still."""


@dataclass(slots=True, kw_only=True)
class Work:
    """A request on its way through the plant."""

    number: int
    offset: int
    model: str
    latency_class: str
    tenant: str
    produced_us: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    fate: str
    hop: int = 0
    tries: int = 0
    attempt: str = ""
    batch: str = ""
    batch_size: int = 0
    waited_us: int = 0
    started_us: int = 0
    first_us: int = 0
    last_us: int = 0
    ends_us: int = 0
    gpu_ns: int = 0
    token_us: int = 0
    continued: int = 0
    continued_first_us: int = 0
    continued_last_us: int = 0

    @property
    def left(self) -> int:
        """Tokens that the attempts before have not made."""
        return self.tokens_out - self.continued

    def stop(self, at_us: int) -> int:
        """Another attempt goes on after what this one has made, which is returned; the last token is always left."""
        made = min((at_us - self.first_us) // self.token_us + 1, self.left - 1) if at_us >= self.first_us else 0
        if made:
            self.continued_first_us = self.continued_first_us or self.first_us
            self.continued_last_us = self.first_us + (made - 1) * self.token_us
            self.continued += made
        return made

    @property
    def id(self) -> str:
        return f"r{self.number}"

    @property
    def lane(self) -> tuple[str, int, int]:
        return names.Lane(self.model, self.latency_class).topic, 0, self.offset

    @property
    def origin(self) -> str:
        return names.origin_of(*self.lane)


@dataclass(slots=True, kw_only=True)
class Site:
    """A machine's present start."""

    machine: Machine
    run: int = 1
    since_us: int = 0
    ready_us: int = 0
    running: list[Work] = field(default_factory=list)
    settled_ns: int = 0
    has_died: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Rows by table, each in the order in which they were told, between two times in microseconds."""

    rows: dict[str, list[Row]]
    responses: dict[str, list[Response]]
    begins_us: int
    ends_us: int

    def of(self, table: str) -> list[Any]:
        """Rows of one table."""
        return self.rows[table]

    def attempts(self) -> list[RequestRow]:
        """One row per attempt: the first telling."""
        found: dict[tuple[str, int, int, str], RequestRow] = {}
        for row in self.of("requests"):
            found.setdefault((row.lane_topic, row.lane_partition, row.lane_offset, row.attempt), row)
        return list(found.values())

    def finals(self) -> list[RequestRow]:
        """One row per request: the end that its reader accepted."""
        accepted = {origin: _accepted(records) for origin, records in self.responses.items()}
        return [row for row in self.attempts() if row.final and accepted[_origin(row)] == row.attempt]


def _origin(row: RequestRow) -> str:
    return names.origin_of(row.lane_topic, row.lane_partition, row.lane_offset)


def _accepted(records: list[Response]) -> str | None:
    """The attempt whose end counts, empty where a processor ended the request. None: it has no end."""
    reader = Reader()
    ended = [record for record in records if reader.feed(record) is Verdict.ENDED]
    return (ended[0].attempt or "") if ended else None


def an_account(*, seed: int = 7, requests: int = 1500, minutes: int = 12, ends_us: int | None = None) -> Account:
    """`requests` requests over `minutes` minutes up to `ends_us` (now, at a whole second, by default)."""
    end = ends_us or time.time_ns() // 1000 // SECOND_US * SECOND_US
    plant = Plant(random.Random(seed), begins_us=end - minutes * 60 * SECOND_US, seconds=minutes * 60)
    plant.run(requests)
    told = sorted(plant.told, key=lambda pair: pair[0])  # stable: rows of one moment stay in order
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    for _, row in told:
        rows[next(table for table, kind in TABLES.items() if isinstance(row, kind))].append(row)
    responses: dict[str, list[Response]] = defaultdict(list)
    for _, record in sorted(plant.said, key=lambda pair: pair[0]):
        responses[record.origin].append(record)
    return Account(rows=rows, responses=responses, begins_us=end - minutes * 60 * SECOND_US, ends_us=end)


class Plant:
    """Four workers, second by second."""

    def __init__(self, chance: random.Random, *, begins_us: int, seconds: int) -> None:
        self._chance = chance
        self._begins_us = begins_us
        self._seconds = seconds
        self._queue: dict[str, list[Work]] = defaultdict(list)
        self._offsets: dict[names.Lane, int] = defaultdict(int)
        self._batches = 0
        self._sites = [self._site(machine) for machine in MACHINES]
        self.told: list[tuple[int, Row]] = []
        self.said: list[tuple[int, Started | Completed]] = []

    def run(self, requests: int) -> None:
        last = self._seconds - QUIET_S
        arrivals: dict[int, list[Work]] = defaultdict(list)
        for number in range(requests):
            work = self._request(number, self._chance.randrange(20, last))
            arrivals[(work.produced_us - self._begins_us) // SECOND_US].append(work)
        for second in range(self._seconds):
            now_us = self._begins_us + second * SECOND_US
            turn = second % len(self._sites)
            for site in [*self._sites[turn:], *self._sites[:turn]]:
                self._second(site, second, now_us)
            for work in arrivals[second]:
                self._arrive(work)

    def _site(self, machine: Machine) -> Site:
        return Site(machine=machine, since_us=self._begins_us, ready_us=self._begins_us + 10 * SECOND_US)

    def _request(self, number: int, second: int) -> Work:
        chance = self._chance
        fates = ("served", "cancelled", "failed", "rejected", "expired", "cached", "coalesced", "returned", *RIVALS)
        tokens_in = chance.randrange(20, 400)
        lane = names.Lane("large" if number % 5 == 0 else "tiny", chance.choice(CLASSES))
        self._offsets[lane] += 1
        return Work(
            number=number,
            offset=self._offsets[lane] - 1,
            model=lane.model,
            latency_class=lane.latency_class,
            tenant=chance.choice(TENANTS),
            produced_us=self._begins_us + second * SECOND_US + chance.randrange(1000) * 1000,
            tokens_in=tokens_in,
            tokens_cached=tokens_in // 2 if chance.random() < 0.3 else 0,
            tokens_out=chance.randrange(2, 80),
            fate=chance.choices(fates, weights=(70, 5, 3, 4, 3, 5, 4, 4, 2, 1, 1))[0],
        )

    def _arrive(self, work: Work) -> None:
        at_us = work.produced_us + 2_000
        if work.fate in ("rejected", "expired", "cached", "coalesced"):
            self._end_in_processor(work, at_us)
            return
        depth = len(self._queue[work.model]) + 1
        self._event("request.admitted", work, at_us, queue_depth=depth, duration_us=at_us - work.produced_us)
        self._queue[work.model].append(work)

    def _end_in_processor(self, work: Work, at_us: int) -> None:
        answered = work.fate in ("cached", "coalesced")
        outcome = "completed" if answered else work.fate
        reason = {"rejected": self._chance.choice(("queue_full", "deadline_unmeetable"))}.get(work.fate, work.fate)
        at_us += 5_000_000 if outcome == "expired" else 3_000
        after_us = at_us - work.produced_us
        row = self._row(work, outcome=outcome, finished_us=after_us, reason=reason)
        if work.fate == "coalesced":  # a worker copies the answer, as an attempt that takes no engine time
            row = msgspec.structs.replace(row, attempt=f"copy{work.number}", mode="fresh")
            self._say_started(at_us, work, row.attempt, mode="fresh")
        self._say_ended(at_us, work, row.attempt)
        code = {"rejected": reason, "expired": "deadline_exceeded"}.get(outcome, "")
        stations = {"first_us": after_us, "last_us": after_us} if answered else {"tokens_out": 0, "tokens_cached": 0}
        self._tell(at_us, msgspec.structs.replace(row, error_code=code, deployment="", worker="", **stations))
        self._event(f"request.{outcome}", work, at_us, outcome=outcome, error_code=code, reason=reason)

    def _second(self, site: Site, second: int, now_us: int) -> None:
        """What a site does from `now_us` on for a second, and the row about it."""
        end_us = now_us + SECOND_US
        if end_us <= site.since_us:
            return
        machine = site.machine
        if machine.crashes_s and machine.crashes_s == second and site.run == 1:
            self._crash(site, now_us)
            return
        if now_us < site.ready_us:
            paid_ns = (end_us - site.since_us) * 1000 * machine.gpus
            self._sample(site, end_us, state="loading", paid_ns=paid_ns, loading_ns=paid_ns)
            return
        if machine.engine_dies_s and machine.engine_dies_s <= second and site.running and not site.has_died:
            site.has_died = True
            self._give_up(site, list(site.running), now_us, "engine_dead")
        self._fill(site, now_us)
        busy_ns = self._work(site, now_us)
        paid_ns = (end_us - site.since_us) * 1000 * machine.gpus
        is_last = second == self._seconds - 1 and not machine.stays
        state = "stopped" if is_last else "ready"
        self._sample(site, end_us, state=state, paid_ns=paid_ns, busy_ns=busy_ns, idle_ns=paid_ns - busy_ns)

    def _fill(self, site: Site, now_us: int) -> None:
        queue = self._queue[names.model_of(site.machine.deployment)]
        taken = [queue.pop(0) for _ in range(min(CAPACITY - len(site.running), len(queue)))]
        if not taken:
            return
        self._batches += 1
        for work in taken:
            self._begin(site, work, now_us + 10_000, len(taken))
        waits = [now_us + 10_000 - work.produced_us for work in taken]
        classes = {work.latency_class for work in taken}
        row = BatchRow(
            batch_id=f"b{self._batches}",
            formed_ts=now_us + 10_000,
            model=taken[0].model,
            deployment=site.machine.deployment,
            latency_class=classes.pop() if len(classes) == 1 else "mixed",
            worker=site.machine.worker,
            processor="processor-1",
            size=len(taken),
            size_limit=CAPACITY,
            tokens_in=sum(work.tokens_in for work in taken),
            wait_max_us=max(waits),
            wait_sum_us=sum(waits),
            queue_depth=len(queue),
            reason="full" if len(taken) == CAPACITY else "least_occupied",
        )
        self._tell(now_us + 10_000, row)

    def _begin(self, site: Site, work: Work, batched_us: int, size: int) -> None:
        chance = self._chance
        batched_us = max(batched_us, work.continued_last_us + 10_000)
        work.tries += 1
        work.attempt = f"a{work.number}-{work.tries}"
        work.batch, work.batch_size = f"b{self._batches}", size
        work.waited_us = batched_us - work.produced_us
        work.started_us = batched_us + 3_000 + chance.randrange(5_000)
        work.first_us = work.started_us + chance.randrange(50_000, 600_000)
        work.token_us = chance.randrange(20_000, 70_000)
        work.last_us = work.first_us + (work.left - 1) * work.token_us
        work.ends_us = work.last_us + chance.randrange(500, 3_000)
        if work.fate == "returned" and work.tries == 1:
            work.ends_us = work.started_us + 700_000
        work.gpu_ns = 0
        site.running.append(work)
        self._say_started(work.started_us, work, work.attempt, mode="fresh" if work.tries == 1 else "resume")
        predicted_s = round((work.first_us - batched_us) / 1e6 * chance.uniform(0.7, 1.4), 4)
        figures = {"predicted_ttft_s": predicted_s}
        if work.model in WHOLE_BATCHES:
            figures = {"service_s": round(0.75 * predicted_s, 6), "starts_in_s": round(0.25 * predicted_s, 6)}
        detail = msgspec.json.encode(figures).decode()
        worker = {"worker": site.machine.worker, "deployment": site.machine.deployment}
        batch = {"batch_id": work.batch, "batch_size": size}
        self._event("request.dispatched", work, batched_us + 500, detail=detail, reason="credit", **worker, **batch)
        self._event("attempt.started", work, work.started_us, attempt=work.attempt, **worker, **batch)

    def _work(self, site: Site, now_us: int, within_us: int = SECOND_US) -> int:
        """Hand out a stretch's engine time and end what ends in it; returns the time."""
        if not site.running:
            return 0
        budget_ns = within_us * 1000 * site.machine.gpus
        busy_ns = int(budget_ns * self._chance.uniform(0.3, 0.98))
        share, rest = divmod(busy_ns, len(site.running))
        for index, work in enumerate(site.running):
            work.gpu_ns += share + (index < rest)
        for work in [work for work in site.running if work.ends_us < now_us + within_us]:
            self._end(site, work)
        return busy_ns

    def _end(self, site: Site, work: Work) -> None:
        if work.fate == "returned" and work.tries == 1:
            self._give_up(site, [work], work.ends_us, "returned")
            return
        site.running.remove(work)
        site.settled_ns += work.gpu_ns
        row = self._attempt_row(site, work)
        at_us = row.produced_ts + row.finished_us
        if work.fate in RIVALS:
            row = self._end_twice(work, row, RIVALS[work.fate])
        self._tell(at_us, row)
        self._say_ended(at_us, work, work.attempt)
        told = {
            "attempt": work.attempt,
            "worker": row.worker,
            "deployment": row.deployment,
            "tokens_out": row.tokens_out,
        }
        self._event("request.finished", work, at_us, outcome=row.outcome, error_code=row.error_code, **told)
        self._aftermath(site, work, row, at_us)

    def _end_twice(self, work: Work, row: RequestRow, rival: Rival) -> RequestRow:
        """The rival ends it too, having used a third of the engine time; returns the row of the other."""
        theirs = msgspec.structs.replace(
            row,
            attempt=f"a{work.number}-{rival.name}",
            hop=row.hop + rival.hops,
            mode=rival.mode,
            started_us=row.started_us + rival.starts_us,
            finished_us=row.finished_us + rival.ends_us,
            gpu_ns=work.gpu_ns // 3,
        )
        self._tell(theirs.produced_ts + theirs.finished_us, theirs)
        began_us = theirs.produced_ts + theirs.started_us
        self._say_started(began_us, work, theirs.attempt, mode=rival.mode, hop=theirs.hop, is_twin=rival.name == "twin")
        self._say_ended(theirs.produced_ts + theirs.finished_us, work, theirs.attempt)
        return msgspec.structs.replace(row, gpu_ns=row.gpu_ns - theirs.gpu_ns)

    def _aftermath(self, site: Site, work: Work, row: RequestRow, at_us: int) -> None:
        if self._chance.random() < 0.02:
            self._tell(at_us + 2_000_000, msgspec.structs.replace(row, worker="tiny-z", gpu_ns=0))
        if row.outcome == "completed" and self._chance.random() < 0.3:
            liked = self._chance.random() < (0.6 if row.deployment.endswith("v2") else 0.9)
            feedback = FeedbackRow(ts=at_us + 60_000, request_id=work.id, signal="thumbs", score=float(liked))
            self._tell(at_us + 60_000, feedback)
        if row.outcome == "completed" and self._chance.random() < 0.1:
            label = self._chance.choice(("helpful", "off topic"))
            self._tell(at_us + 70_000, FeedbackRow(ts=at_us + 70_000, request_id=work.id, signal="review", label=label))

    def _attempt_row(self, site: Site, work: Work) -> RequestRow:
        outcome = {"cancelled": "cancelled", "failed": "failed"}.get(work.fate, "completed")
        code = {"cancelled": "cancelled", "failed": "generation_failed"}.get(work.fate, "")
        row = self._row(work, outcome=outcome, finished_us=work.ends_us - work.produced_us, reason="")
        return msgspec.structs.replace(
            row,
            attempt=work.attempt,
            mode="fresh" if work.tries == 1 else "resume",
            error_code=code,
            worker=site.machine.worker,
            deployment=site.machine.deployment,
            batched_us=work.waited_us,
            dispatched_us=work.waited_us + 1_000,
            started_us=work.started_us - work.produced_us,
            first_us=work.first_us - work.produced_us,
            last_us=work.last_us - work.produced_us,
            gpu_ns=work.gpu_ns,
            tokens_out=work.left,
            chunks=work.left,
            continued=work.continued,
            continued_first_us=work.continued_first_us - work.produced_us if work.continued else 0,
            continued_last_us=work.continued_last_us - work.produced_us if work.continued else 0,
        )

    def _give_up(self, site: Site, works: list[Work], at_us: int, outcome: str) -> None:
        """Attempts end without a terminal record and the requests are tried again."""
        for work in works:
            site.running.remove(work)
            site.settled_ns += work.gpu_ns
            row = msgspec.structs.replace(
                self._attempt_row(site, work), final=0, outcome=outcome, reason=outcome, error_code=""
            )
            made, after_us = work.stop(at_us), max(at_us - work.produced_us, 1)
            told = msgspec.structs.replace(
                row,
                finished_us=after_us,
                first_us=row.first_us if made else 0,
                last_us=work.continued_last_us - work.produced_us if made else 0,
                tokens_out=made,
                chunks=made,
            )
            self._tell(at_us, told)
            self._queue[work.model].insert(0, work)

    def _crash(self, site: Site, now_us: int) -> None:
        """The process dies 0.4 s into a second; what ended before told so, the rest never does and goes elsewhere."""
        self._work(site, now_us, within_us=400_000)
        for work in site.running:
            work.stop(now_us + 400_000)
            work.hop += 1
            self._queue[work.model].insert(0, work)
        site.running.clear()
        site.run += 1
        site.since_us = now_us + 5 * SECOND_US
        site.ready_us = site.since_us + 10 * SECOND_US
        site.settled_ns = 0

    def _sample(self, site: Site, end_us: int, *, state: str, paid_ns: int, **parts: Any) -> None:
        machine = site.machine
        common: dict[str, Any] = {
            "ts": end_us,
            "worker": machine.worker,
            "model": names.model_of(machine.deployment),
            "deployment": machine.deployment,
            "gpus": machine.gpus,
        }
        row = GpuRow(
            since_ts=site.since_us,
            run=f"{machine.worker}-run{site.run}",
            gpu=machine.gpu,
            state=state,
            paid_ns=paid_ns,
            settled_ns=site.settled_ns,
            **parts,
            **common,
        )
        interval_us, busy_us, running = end_us - site.since_us, row.busy_ns // 1000 // machine.gpus, len(site.running)
        site.settled_ns = 0
        site.since_us = end_us
        self._tell(end_us, row)
        if state != "loading":
            steps = int(busy_us * self._chance.uniform(0.4, 1)) // (STEP_US + TOKEN_US * running)
            counts: dict[str, Any] = {
                "steps": steps,
                "prefill_tokens": (busy_us - steps * (STEP_US + TOKEN_US * running)) // PROMPT_TOKEN_US[machine.gpu],
                "decode_tokens": steps * running,
                "running_max": running,
                "waiting_max": len(self._queue[row.model]),
            }
            self._tell(end_us, StepRow(interval_us=interval_us, busy_us=busy_us, **counts, **common))

    def _row(self, work: Work, *, outcome: str, finished_us: int, reason: str) -> RequestRow:
        topic, partition, offset = work.lane
        return RequestRow(
            request_id=work.id,
            lane_topic=topic,
            lane_partition=partition,
            lane_offset=offset,
            hop=work.hop,
            trace_id=work.number.to_bytes(16, "big"),
            tenant=work.tenant,
            latency_class=work.latency_class,
            model=work.model,
            batch_id=work.batch,
            batch_size=work.batch_size,
            produced_ts=work.produced_us,
            admitted_us=2_000,
            finished_us=finished_us,
            deadline_us=60 * SECOND_US,
            tokens_in=work.tokens_in,
            tokens_cached=work.tokens_cached,
            tokens_out=work.tokens_out,
            chunks=work.tokens_out,
            outcome=outcome,
            finish_reason="stop" if outcome == "completed" else "",
            reason=reason,
        )

    def _event(self, kind: str, work: Work, at_us: int, **fields: Any) -> None:
        row = EventRow(
            ts=at_us,
            kind=kind,
            component="worker" if "attempt" in fields else "processor",
            process="p",
            trace_id=work.number.to_bytes(16, "big"),
            request_id=work.id,
            origin=work.origin,
            tenant=work.tenant,
            latency_class=work.latency_class,
            model=work.model,
            tokens_in=work.tokens_in,
            **fields,
        )
        self._tell(at_us, row)

    def _say_started(
        self,
        at_us: int,
        work: Work,
        attempt: str,
        *,
        mode: Literal["fresh", "resume"],
        hop: int | None = None,
        is_twin: bool = False,
    ) -> None:
        """An attempt's start in the log of responses. Tokens are left out of it: they decide nothing here."""
        record = Started(
            id=work.id,
            origin=work.origin,
            attempt=attempt,
            mode=mode,
            hop=work.hop if hop is None else hop,
            dispatch=f"dispatches/0/{work.number}{'-again' if is_twin else ''}",
            term=work.tries,
            deployment="",
        )
        self.said.append((at_us, record))

    def _say_ended(self, at_us: int, work: Work, attempt: str) -> None:
        """A terminal record; how it ended does not matter to who reads it."""
        record = Completed(id=work.id, origin=work.origin, attempt=attempt or None, finish_reason="stop")
        self.said.append((at_us, record))

    def _tell(self, at_us: int, row: Row) -> None:
        self.told.append((at_us, row))


async def fill(store: Store, database: str, account: Account) -> None:
    """Put the rows, prices and targets into a migrated database, as a recorder would: addresses, one insert a day."""
    offset = 0
    for table, rows in account.rows.items():
        pieces = [rows[i : i + MESSAGE_ROWS] for i in range(0, len(rows), MESSAGE_ROWS)]
        by_day: dict[int, list[pa.Table]] = defaultdict(list)
        for piece in pieces:
            log_ms = _told_us(piece[-1]) // 1000
            by_day[log_ms // 86_400_000].append(addressed(table, piece, ko=offset, log_ms=log_ms))
            offset += len(piece)
        for day in sorted(by_day):
            await store.insert(f"{quoted(database)}.{table}", pa.concat_tables(by_day[day]), token=f"{table}-{day}")
    for statement in statements(database, account):
        await store.execute(statement)


def statements(database: str, account: Account) -> Iterator[str]:
    """What no process of the plant tells: prices, targets, one decision about scaling and one about a rollout; and the
    minutes, which are not waited for.
    """
    begins_s, name = account.begins_us // SECOND_US, quoted(database)
    prices = ", ".join(f"('{gpu}', '{plan}', {begins_s - 86_400}, {usd})" for gpu, plan, usd in PRICES)
    yield f"INSERT INTO {name}.gpu_prices (gpu, plan, valid_from, usd_per_gpu_hour) VALUES {prices}"
    yield f"SYSTEM RELOAD DICTIONARY {name}.gpu_price"
    targets = ", ".join(
        f"('{model}', '{latency_class}', {OBJECTIVE}, {ttft}, {tpot}, {e2e})"
        for model in ("tiny", "large")
        for latency_class, (ttft, tpot, e2e) in TARGETS.items()
    )
    columns = "model, latency_class, objective_ratio, ttft_ms, tpot_ms, e2e_ms"
    yield f"INSERT INTO {name}.slo_targets ({columns}) VALUES {targets}"
    yield (
        f"INSERT INTO {name}.scaling_decisions (log_ts, ts, decision_id, model, deployment, action, reason, "
        "replicas_before, replicas_wanted, replicas_after, queue_depth, lag_s, ready_ts) "
        f"VALUES ({begins_s}, {begins_s + 120}, 's1', 'tiny', 'tiny@v1', 'up', 'lag', 1, 2, 2, 40, 3.5, "
        f"{begins_s + 150})"
    )
    yield (
        f"INSERT INTO {name}.rollout_decisions (log_ts, ts, decision_id, rollout_id, model, stable, canary, stage, "
        "action, reason, weight_before, weight_after) "
        f"VALUES ({begins_s}, {begins_s + 60}, 'd1', 'tiny-v2', 'tiny', 'tiny@v1', 'tiny@v2', 1, 'start', 'asked', "
        "0, 0.3)"
    )
    yield f"SYSTEM REFRESH VIEW {name}.requests_by_minute_refresh"
    yield f"SYSTEM WAIT VIEW {name}.requests_by_minute_refresh"


def _told_us(row: Row) -> int:
    match row:
        case RequestRow():
            return row.produced_ts + row.finished_us
        case BatchRow():
            return row.formed_ts
        case _:
            return row.ts


def addressed(table: str, rows: list[Row], *, ko: int, log_ms: int) -> pa.Table:
    """Rows as the recorder would insert them, of messages from offset `ko` on: one each, as of different processes."""
    received = decode_rows(encode_rows(table, rows))
    count = len(rows)
    address = {
        "kp": pa.array([0] * count, pa.uint16()),
        "ko": pa.array(range(ko, ko + count), pa.uint64()),
        "ki": pa.array([0] * count, pa.uint32()),
        "log_ts": pa.array([log_ms] * count, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
    }
    return pa.table({**address, **{name: received[name] for name in SCHEMAS[table].names}})
