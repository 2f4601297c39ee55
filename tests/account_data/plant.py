"""Four workers and their traffic, second by second, with everything that goes wrong."""

import random
from collections import defaultdict
from typing import Any

import msgspec

from tests.account_data.site import (
    CAPACITY,
    CLASSES,
    MACHINES,
    PROMPT_TOKEN_US,
    QUIET_S,
    RIVALS,
    SECOND_US,
    STEP_US,
    TENANTS,
    TOKEN_US,
    WHOLE_BATCHES,
    Machine,
    Rival,
    Site,
    Work,
)
from tests.account_data.telling import Telling
from topics import names
from topics.trace_rows import BatchRow, FeedbackRow, GpuRow, RequestRow, StepRow


class Plant:
    """Four workers, second by second."""

    def __init__(self, chance: random.Random, telling: Telling, *, begins_us: int, seconds: int) -> None:
        self._chance = chance
        self._begins_us = begins_us
        self._seconds = seconds
        self._queue: dict[str, list[Work]] = defaultdict(list)
        self._offsets: dict[names.Lane, int] = defaultdict(int)
        self._batches = 0
        self._sites = [self._site(machine) for machine in MACHINES]
        self._telling = telling

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
        self._telling.event("request.admitted", work, at_us, queue_depth=depth, duration_us=at_us - work.produced_us)
        self._queue[work.model].append(work)

    def _end_in_processor(self, work: Work, at_us: int) -> None:
        answered = work.fate in ("cached", "coalesced")
        outcome = "completed" if answered else work.fate
        reason = {"rejected": self._chance.choice(("queue_full", "deadline_unmeetable"))}.get(work.fate, work.fate)
        at_us += 5_000_000 if outcome == "expired" else 3_000
        after_us = at_us - work.produced_us
        row = self._telling.row(work, outcome=outcome, finished_us=after_us, reason=reason)
        if work.fate == "coalesced":  # a worker copies the answer, as an attempt that takes no engine time
            row = msgspec.structs.replace(row, attempt=f"copy{work.number}", mode="fresh")
            self._telling.say_started(at_us, work, row.attempt, mode="fresh")
        self._telling.say_ended(at_us, work, row.attempt)
        code = {"rejected": reason, "expired": "deadline_exceeded"}.get(outcome, "")
        stations = {"first_us": after_us, "last_us": after_us} if answered else {"tokens_out": 0, "tokens_cached": 0}
        self._telling.tell(at_us, msgspec.structs.replace(row, error_code=code, deployment="", worker="", **stations))
        self._telling.event(f"request.{outcome}", work, at_us, outcome=outcome, error_code=code, reason=reason)

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
        self._telling.tell(now_us + 10_000, row)

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
        self._telling.say_started(work.started_us, work, work.attempt, mode="fresh" if work.tries == 1 else "resume")
        predicted_s = round((work.first_us - batched_us) / 1e6 * chance.uniform(0.7, 1.4), 4)
        figures = {"predicted_ttft_s": predicted_s}
        if work.model in WHOLE_BATCHES:
            figures = {"service_s": round(0.75 * predicted_s, 6), "starts_in_s": round(0.25 * predicted_s, 6)}
        detail = msgspec.json.encode(figures).decode()
        worker = {"worker": site.machine.worker, "deployment": site.machine.deployment}
        batch = {"batch_id": work.batch, "batch_size": size}
        self._telling.event(
            "request.dispatched", work, batched_us + 500, detail=detail, reason="credit", **worker, **batch
        )
        self._telling.event("attempt.started", work, work.started_us, attempt=work.attempt, **worker, **batch)

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
        self._telling.tell(at_us, row)
        self._telling.say_ended(at_us, work, work.attempt)
        told = {
            "attempt": work.attempt,
            "worker": row.worker,
            "deployment": row.deployment,
            "tokens_out": row.tokens_out,
        }
        self._telling.event("request.finished", work, at_us, outcome=row.outcome, error_code=row.error_code, **told)
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
        self._telling.tell(theirs.produced_ts + theirs.finished_us, theirs)
        began_us = theirs.produced_ts + theirs.started_us
        self._telling.say_started(
            began_us, work, theirs.attempt, mode=rival.mode, hop=theirs.hop, is_twin=rival.name == "twin"
        )
        self._telling.say_ended(theirs.produced_ts + theirs.finished_us, work, theirs.attempt)
        return msgspec.structs.replace(row, gpu_ns=row.gpu_ns - theirs.gpu_ns)

    def _aftermath(self, site: Site, work: Work, row: RequestRow, at_us: int) -> None:
        if self._chance.random() < 0.02:
            self._telling.tell(at_us + 2_000_000, msgspec.structs.replace(row, worker="tiny-z", gpu_ns=0))
        if row.outcome == "completed" and self._chance.random() < 0.3:
            liked = self._chance.random() < (0.6 if row.deployment.endswith("v2") else 0.9)
            feedback = FeedbackRow(ts=at_us + 60_000, request_id=work.id, signal="thumbs", score=float(liked))
            self._telling.tell(at_us + 60_000, feedback)
        if row.outcome == "completed" and self._chance.random() < 0.1:
            label = self._chance.choice(("helpful", "off topic"))
            self._telling.tell(
                at_us + 70_000, FeedbackRow(ts=at_us + 70_000, request_id=work.id, signal="review", label=label)
            )

    def _attempt_row(self, site: Site, work: Work) -> RequestRow:
        outcome = {"cancelled": "cancelled", "failed": "failed"}.get(work.fate, "completed")
        code = {"cancelled": "cancelled", "failed": "generation_failed"}.get(work.fate, "")
        row = self._telling.row(work, outcome=outcome, finished_us=work.ends_us - work.produced_us, reason="")
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
            self._telling.tell(at_us, told)
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
        self._telling.tell(end_us, row)
        if state != "loading":
            steps = int(busy_us * self._chance.uniform(0.4, 1)) // (STEP_US + TOKEN_US * running)
            counts: dict[str, Any] = {
                "steps": steps,
                "prefill_tokens": (busy_us - steps * (STEP_US + TOKEN_US * running)) // PROMPT_TOKEN_US[machine.gpu],
                "decode_tokens": steps * running,
                "running_max": running,
                "waiting_max": len(self._queue[row.model]),
            }
            self._telling.tell(end_us, StepRow(interval_us=interval_us, busy_us=busy_us, **counts, **common))
