"""Rows of the account that a worker writes: one per attempt, and what happened to it and to its slots."""

from dataclasses import dataclass

from pipeline.engines.protocol import StepCounts
from pipeline.worker.attempts import Attempt
from pipeline.worker.resuming import Ended
from topics import names
from topics.continued import after, before
from topics.dispatches import Dispatch
from topics.errors import PipelineError
from topics.responses import Completed, outcome_of
from topics.texts import NO_TEXTS, TextColumns
from topics.trace_rows import EventRow, RequestRow, StepRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this worker is. `run` names this start of it."""

    worker: str
    run: str
    deployment: str

    @property
    def model(self) -> str:
        """What clients call the deployment."""
        return names.model_of(self.deployment)


class Rows:
    """Makes rows for one worker."""

    def __init__(self, identity: Identity) -> None:
        self._id = identity

    def request(
        self,
        attempt: Attempt,
        *,
        trace_id: bytes,
        outcome: str,
        parent: tuple[int, int] = (0, 0),
        reason: str = "",
        error: PipelineError | None = None,
        texts: TextColumns = NO_TEXTS,
    ) -> RequestRow:
        """The row of an attempt that has ended; it is final if it wrote the terminal record.

        `parent` is the producer's span and its flags (`topics.headers.parent_span`), `texts` what is said of the texts.
        """
        dispatch, usage, terminal = attempt.dispatch, attempt.usage, attempt.terminal
        stations = dispatch.stations
        produced = stations.produced_at_us
        earlier = before(attempt.told, produced_us=produced)
        topic, partition, offset = names.split_origin(dispatch.origin)
        return RequestRow(
            request_id=dispatch.id,
            lane_topic=topic,
            lane_partition=partition,
            lane_offset=offset,
            attempt=attempt.name,
            final=int(terminal is not None),
            hop=dispatch.hop,
            mode=attempt.mode,
            trace_id=trace_id,
            tenant=dispatch.tenant,
            latency_class=dispatch.latency_class,
            model=dispatch.model,
            deployment=dispatch.deployment,
            worker=self._id.worker,
            batch_id=dispatch.batch.id,
            batch_size=dispatch.batch.size,
            produced_ts=produced,
            admitted_us=after(produced, stations.admitted_at_us),
            batched_us=after(produced, stations.batched_at_us),
            dispatched_us=after(produced, stations.dispatched_at_us),
            started_us=after(produced, attempt.started_us),
            first_us=after(produced, attempt.first_us),
            last_us=after(produced, attempt.last_us),
            finished_us=after(produced, attempt.finished_us),
            deadline_us=after(produced, dispatch.deadline_at_ms * 1000),
            tokens_in=usage.prompt_tokens if usage else 0,
            tokens_cached=usage.cached_tokens if usage else 0,
            tokens_out=attempt.tokens,
            chunks=attempt.chunks,
            outcome=outcome_of(terminal) if terminal else outcome,
            finish_reason=terminal.finish_reason if isinstance(terminal, Completed) else "",
            error_code=terminal.error.code if terminal and terminal.error else error.code if error else "",
            reason=reason or dispatch.reason,
            gpu_ns=attempt.gpu_ns,
            parent_span=parent[0],
            trace_flags=parent[1],
            endpoint=dispatch.endpoint,
            continued=earlier.tokens,
            continued_first_us=earlier.first_us,
            continued_last_us=earlier.last_us,
            prompt_chars=texts.prompt_chars,
            prompt_hash=texts.prompt_hash,
            answer_chars=texts.answer_chars,
            answer_hash=texts.answer_hash,
        )

    def retold(
        self,
        dispatch: Dispatch,
        ended: Ended,
        *,
        trace_id: bytes,
        parent: tuple[int, int] = (0, 0),
        texts: TextColumns = NO_TEXTS,
    ) -> RequestRow:
        """The row of an attempt that ended the request, as far as the log tells: not by whom, nor the engine time.

        It repeats the times of the attempt's own row, so that whoever has both can take that one.
        """
        started, terminal, usage = ended.started, ended.terminal, ended.terminal.usage
        topic, partition, offset = names.split_origin(dispatch.origin)
        reached = {name: max(round(at_ms * 1000), 1) for name, at_ms in terminal.timing_ms.items()}
        produced = dispatch.stations.produced_at_us
        earlier = before(ended.told, produced_us=produced)
        return RequestRow(
            request_id=dispatch.id,
            lane_topic=topic,
            lane_partition=partition,
            lane_offset=offset,
            attempt=started.attempt,
            hop=started.hop,
            mode=started.mode,
            trace_id=trace_id,
            tenant=dispatch.tenant,
            latency_class=dispatch.latency_class,
            model=dispatch.model,
            deployment=started.deployment,
            batch_id=dispatch.batch.id,
            batch_size=dispatch.batch.size,
            produced_ts=produced,
            deadline_us=after(produced, dispatch.deadline_at_ms * 1000),
            tokens_in=usage.prompt_tokens if usage else 0,
            tokens_cached=usage.cached_tokens if usage else 0,
            tokens_out=ended.tokens,
            chunks=ended.chunks,
            outcome=outcome_of(terminal),
            finish_reason=terminal.finish_reason if isinstance(terminal, Completed) else "",
            error_code=terminal.error.code if terminal.error else "",
            reason=dispatch.reason,
            parent_span=parent[0],
            trace_flags=parent[1],
            endpoint=dispatch.endpoint,
            admitted_us=reached.get("admitted", 0),
            batched_us=reached.get("batched", 0),
            dispatched_us=reached.get("dispatched", 0),
            started_us=reached.get("started", 0),
            first_us=reached.get("first", 0),
            last_us=reached.get("last", 0),
            finished_us=reached.get("finished", 0),
            continued=earlier.tokens,
            continued_first_us=earlier.first_us,
            continued_last_us=earlier.last_us,
            prompt_chars=texts.prompt_chars,
            prompt_hash=texts.prompt_hash,
            answer_chars=texts.answer_chars,
            answer_hash=texts.answer_hash,
        )

    def retold_event(self, row: RequestRow, *, origin: str) -> EventRow:
        """`request.finished` of a row that is told again."""
        return EventRow(
            ts=row.produced_ts + row.finished_us,
            kind="request.finished",
            component="worker",
            process=self._id.run,
            trace_id=row.trace_id,
            request_id=row.request_id,
            origin=origin,
            attempt=row.attempt,
            tenant=row.tenant,
            latency_class=row.latency_class,
            model=row.model,
            deployment=row.deployment,
            batch_id=row.batch_id,
            batch_size=row.batch_size,
            tokens_in=row.tokens_in,
            tokens_out=row.tokens_out,
            duration_us=max(row.finished_us - row.started_us, 0),
            outcome=row.outcome,
            error_code=row.error_code,
            reason=row.mode,
        )

    def attempt_event(self, kind: str, attempt: Attempt, *, trace_id: bytes, now_us: int, reason: str = "") -> EventRow:
        """`attempt.started` or `request.finished`."""
        dispatch, usage, terminal = attempt.dispatch, attempt.usage, attempt.terminal
        return EventRow(
            ts=now_us,
            kind=kind,
            component="worker",
            process=self._id.run,
            trace_id=trace_id,
            request_id=dispatch.id,
            origin=dispatch.origin,
            attempt=attempt.name,
            tenant=dispatch.tenant,
            latency_class=dispatch.latency_class,
            model=dispatch.model,
            deployment=dispatch.deployment,
            worker=self._id.worker,
            batch_id=dispatch.batch.id,
            batch_size=dispatch.batch.size,
            tokens_in=usage.prompt_tokens if usage else 0,
            tokens_out=attempt.tokens,
            duration_us=max(now_us - attempt.started_us, 0),
            outcome=outcome_of(terminal) if terminal else "",
            error_code=terminal.error.code if terminal and terminal.error else "",
            reason=reason or attempt.mode,
        )

    def event(self, kind: str, *, now_us: int, reason: str = "", detail: str = "", running: int = 0) -> EventRow:
        """Something that happened to the worker or one of its slots."""
        return EventRow(
            ts=now_us,
            kind=kind,
            component="worker",
            process=self._id.run,
            model=self._id.model,
            deployment=self._id.deployment,
            worker=self._id.worker,
            running=running,
            reason=reason,
            detail=detail,
        )

    def steps(self, counts: StepCounts, *, gpus: int, interval_us: int, now_us: int) -> StepRow:
        """The engine's work over the last `interval_us`."""
        return StepRow(
            ts=now_us,
            worker=self._id.worker,
            model=self._id.model,
            deployment=self._id.deployment,
            gpus=gpus,
            interval_us=interval_us,
            steps=counts.steps,
            busy_us=counts.busy_us,
            prefill_tokens=counts.prefill_tokens,
            decode_tokens=counts.decode_tokens,
            running_max=counts.running_max,
            waiting_max=counts.waiting_max,
            kv_usage_ratio=counts.kv_usage_ratio,
        )
