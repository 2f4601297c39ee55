"""What a worker tells others, as effects: answers, work handed back, dead letters, rows of the account.

It decides nothing; `pipeline.worker.core` says what is told when.
"""

from collections import Counter
from typing import Literal

from msgspec.structs import replace

from pipeline.worker.attempts import Attempt
from pipeline.worker.effects import AddRow, Send
from pipeline.worker.jobs import Job
from pipeline.worker.resuming import Ended
from pipeline.worker.rows import Identity, Rows
from topics import names
from topics.answers import said_in
from topics.bodies import decode_body
from topics.codec import encode
from topics.dispatches import Return
from topics.errors import PipelineError, RequestError
from topics.fleet import Finished
from topics.headers import dead_letter, parent_span
from topics.responses import Completed, Delta, Response, TerminalRecord, outcome_of
from topics.texts import NOTHING_KEPT, KeptTexts, TextRules, prompt_of

Headers = tuple[tuple[str, bytes], ...]
ReturnReason = Literal["drained", "parked", "detached"]


class Teller:
    """Makes the effects that leave one worker.

    Args:
        identity: who tells.
        return_partitions: of the topic of returned work.
        texts: what the account may keep of the texts of each tenant.
    """

    def __init__(self, identity: Identity, *, return_partitions: int, texts: TextRules = NOTHING_KEPT) -> None:
        self._id = identity
        self._rows = Rows(identity)
        self._return_partitions = return_partitions
        self._texts = texts
        self.dead_letters: Counter[str] = Counter()
        """Records told to the dead letters, by the code of the reason."""

    def answer(self, job: Job, record: Response, *, headers: Headers = (), is_last: bool = False) -> Send:
        """A record of the job's present attempt, to where its sender reads."""
        reply = job.dispatch.reply
        assert job.attempt is not None
        content = record if isinstance(record, Delta) else encode(record)
        return Send(reply.topic, reply.partition, job.reply_key, content, job.attempt.name, is_last, headers)

    def returned(self, job: Job, ref: str, reason: ReturnReason) -> Send:
        """The dispatch, handed back to the processor of its lane."""
        _, lane_partition, _ = names.split_origin(job.dispatch.origin)
        attempt = job.attempt if job.dispatch.primary is None else None
        told = job.attempt.told_so_far if job.attempt is not None else None
        record = Return(
            dispatch=replace(job.dispatch, told=told or job.dispatch.told),
            dispatched_at_ms=job.first_ms,
            worker=self._id.worker,
            reason=reason,
            usage=attempt.usage if attempt is not None else None,
            generated=attempt.tokens if attempt is not None else 0,
        )
        topic = names.returns_topic(self._id.model)
        partition = lane_partition % self._return_partitions
        return Send(topic, partition, job.reply_key, encode(record), ref, True, job.headers)

    def letter(
        self,
        ref: str,
        *,
        partition: int,
        offset: int,
        key: bytes,
        value: bytes,
        headers: Headers,
        error: PipelineError,
    ) -> Send:
        """A record of a slot for the dead letters, with the reason."""
        self.dead_letters[error.code] += 1
        why = dead_letter(
            headers,
            topic=names.dispatch_topic(self._id.deployment),
            partition=partition,
            offset=offset,
            stage="worker",
            code=error.code,
            message=error.message,
        )
        return Send(names.DEAD_LETTERS, 0, key, value, ref, True, tuple(why))

    def dead_job(self, job: Job, ref: str, error: PipelineError) -> Send:
        """A dispatch for the dead letters, with the reason."""
        return self.letter(
            ref,
            partition=job.taken.partition,
            offset=job.taken.offset,
            key=job.reply_key,
            value=encode(job.dispatch),
            headers=job.taken.headers,
            error=error,
        )

    def began(self, job: Job, attempt: Attempt, now_us: int) -> AddRow:
        """`attempt.started`."""
        return AddRow(self._rows.attempt_event("attempt.started", attempt, trace_id=job.trace_id, now_us=now_us))

    def ended(self, job: Job, attempt: Attempt) -> tuple[AddRow, ...]:
        """The rows of a request whose terminal record is in the log."""
        texts = self._texts_of(job, attempt.text)
        row = self._rows.request(
            attempt, trace_id=job.trace_id, outcome="", parent=parent_span(job.headers), texts=texts.columns
        )
        event = self._rows.attempt_event("request.finished", attempt, trace_id=job.trace_id, now_us=attempt.finished_us)
        return AddRow(row), AddRow(event), *(AddRow(text) for text in texts.rows(row))

    def given_up(self, job: Job, attempt: Attempt, outcome: str) -> AddRow:
        """The row of an attempt that ended without a terminal record."""
        parent = parent_span(job.headers)
        return AddRow(
            self._rows.request(attempt, trace_id=job.trace_id, outcome=outcome, parent=parent, reason=outcome)
        )

    def retold(self, job: Job, ended: Ended) -> tuple[AddRow, ...]:
        """The rows of an attempt that ended the request, whose worker may not have told them."""
        terminal = ended.terminal
        whole = said_in(terminal.body)[0] if isinstance(terminal, Completed) and terminal.body is not None else ""
        texts = self._texts_of(job, whole or ended.text)
        parent = parent_span(job.headers)
        row = self._rows.retold(job.dispatch, ended, trace_id=job.trace_id, parent=parent, texts=texts.columns)
        event = self._rows.retold_event(row, origin=job.dispatch.origin)
        return AddRow(row), AddRow(event), *(AddRow(text) for text in texts.rows(row))

    def _texts_of(self, job: Job, answer: str) -> KeptTexts:
        """What is kept of prompt and answer; of a body that is none, the answer's."""
        return self._texts.kept(job.dispatch.tenant, prompt=lambda: _prompt_of(job), answer=answer)

    def slot_event(self, kind: str, *, partition: int, term: int, now_us: int, running: int, reason: str) -> AddRow:
        """`slot.owned` or `slot.lost`."""
        detail = names.origin_of(names.dispatch_topic(self._id.deployment), partition, max(term, 0))
        return AddRow(self._rows.event(kind, now_us=now_us, reason=reason, detail=detail, running=running))

    def worker_ready(self, now_us: int) -> AddRow:
        """`worker.ready`."""
        return AddRow(self._rows.event("worker.ready", now_us=now_us))


def finished(job: Job, attempt: Attempt, terminal: TerminalRecord) -> Finished:
    """The request as heartbeats tell it: what a latency model learns from. A copy has cost nothing.

    Tokens that were continued had to be read like the prompt, and count with it.
    """
    is_copy = job.dispatch.primary is not None
    usage = None if is_copy else attempt.usage
    return Finished(
        origin=job.dispatch.origin,
        batch_id=job.dispatch.batch.id,
        prompt_tokens=usage.prompt_tokens + attempt.continued if usage else 0,
        completion_tokens=0 if is_copy else attempt.tokens,
        service_us=0 if is_copy else max(attempt.finished_us - attempt.started_us, 0),
        outcome=outcome_of(terminal),
        first_token_us=max(attempt.first_us - attempt.started_us, 0),
        tenant=job.dispatch.tenant,
        latency_class=job.dispatch.latency_class,
        backlog=job.dispatch.backlog,
    )


def ended_before(job: Job, ended: Ended) -> Finished:
    """A request that had ended on the job's dispatch before the job began, for those who were not told."""
    timing_ms, usage = ended.terminal.timing_ms, ended.terminal.usage
    started_ms = timing_ms.get("started", 0.0)
    completion_tokens = usage.completion_tokens if usage else 0
    return Finished(
        origin=job.dispatch.origin,
        batch_id=job.dispatch.batch.id,
        prompt_tokens=usage.prompt_tokens + max(completion_tokens - ended.tokens, 0) if usage else 0,
        completion_tokens=ended.tokens,
        service_us=_us_after(timing_ms.get("finished", 0.0), started_ms),
        outcome=outcome_of(ended.terminal),
        first_token_us=_us_after(timing_ms.get("first", 0.0), started_ms),
        tenant=job.dispatch.tenant,
        latency_class=job.dispatch.latency_class,
        backlog=job.dispatch.backlog,
    )


def _us_after(at_ms: float, start_ms: float) -> int:
    return max(round((at_ms - start_ms) * 1000), 0)


def _prompt_of(job: Job) -> str:
    try:
        return prompt_of(job.body or decode_body(job.dispatch.endpoint, job.dispatch.body))
    except RequestError:
        return ""
