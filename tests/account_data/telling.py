"""What the plant tells of its requests: rows of the account, and the records of their answers."""

from typing import Any, Literal

from tests.account_data.site import SECOND_US, Work
from topics.responses import Completed, Started
from topics.trace_rows import EventRow, RequestRow, Row


class Telling:
    """Everything that was told, with the time at which it was."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Row]] = []
        self.said: list[tuple[int, Started | Completed]] = []

    def row(self, work: Work, *, outcome: str, finished_us: int, reason: str) -> RequestRow:
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

    def event(self, kind: str, work: Work, at_us: int, **fields: Any) -> None:
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
        self.tell(at_us, row)

    def say_started(
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

    def say_ended(self, at_us: int, work: Work, attempt: str) -> None:
        """A terminal record; how it ended does not matter to who reads it."""
        record = Completed(id=work.id, origin=work.origin, attempt=attempt or None, finish_reason="stop")
        self.said.append((at_us, record))

    def tell(self, at_us: int, row: Row) -> None:
        self.told.append((at_us, row))
