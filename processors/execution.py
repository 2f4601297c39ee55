"""Doing what a scheduler wants: records to the outbox, rows to the trace, lanes held and released. Decides nothing."""

from collections import Counter
from typing import Final, assert_never

from processors.delivery import TraceShipper
from processors.effects import Answer, Dispatch, Effect, Forward, PauseLane, ResumeLane, Trace
from processors.events import Address
from processors.holds import FULL, Holds
from processors.outbox import Outbox
from processors.output import Output
from topics import names
from topics.codec import encode
from topics.headers import Headers, dead_letter
from topics.trace_rows import Row

STAGE: Final = "processor"


class Executor:
    """Executes the effects of all shards of a model, in order. Nothing here waits.

    Args:
        model: names the lanes.
        outbox: where records go.
        shipper: where trace rows go.
        holds: of the lanes.
    """

    def __init__(self, model: str, *, outbox: Outbox, shipper: TraceShipper, holds: Holds) -> None:
        self._model = model
        self._outbox = outbox
        self._shipper = shipper
        self._holds = holds
        self.dead_letters: Counter[str] = Counter()
        """Records that were put among the dead letters, by the code of the reason."""

    def apply(self, shard: int, effects: list[Effect]) -> None:
        """What the scheduler of a shard wants."""
        for effect in effects:
            match effect:
                case Trace():
                    self._shipper.add(effect.row)
                case Dispatch():
                    self._outbox.put(_dispatch_output(effect))
                case Answer():
                    self._answer(effect)
                case Forward():
                    self._outbox.put(_forward_output(effect))
                case PauseLane():
                    self._holds.hold(self._lane(effect.latency_class), shard, FULL)
                case ResumeLane():
                    self._holds.release(self._lane(effect.latency_class), shard, FULL)
                case _:
                    assert_never(effect)

    def account(self, row: Row) -> None:
        """A row that follows from no effect."""
        self._shipper.add(row)

    def bury(
        self, at: Address, *, key: bytes | None, value: bytes | None, headers: Headers, code: str, message: str
    ) -> None:
        """Put a record among the dead letters, as it was; its lane goes on."""
        self.dead_letters[code] += 1
        topic, partition, offset = at
        reasons = dead_letter(
            headers, topic=topic, partition=partition, offset=offset, stage=STAGE, code=code, message=message
        )
        self._outbox.put(Output(topic=names.DEAD_LETTERS, value=value, key=key, headers=reasons, settles=at))

    def _answer(self, answer: Answer) -> None:
        *before, last = answer.records
        for record in (*before, last):
            self._outbox.put(
                Output(
                    topic=answer.reply.topic,
                    partition=answer.reply.partition,
                    key=record.id.encode(),
                    value=encode(record),
                    headers=answer.headers,
                    settles=answer.settles if record is last else None,
                )
            )

    def _lane(self, latency_class: str) -> str:
        return names.Lane(self._model, latency_class).topic


def _dispatch_output(effect: Dispatch) -> Output:
    return Output(
        topic=names.dispatch_topic(effect.record.deployment),
        partition=effect.slot,
        key=effect.record.id.encode(),
        value=encode(effect.record),
        headers=effect.headers,
        settles=effect.settles,
    )


def _forward_output(effect: Forward) -> Output:
    return Output(
        topic=names.dispatch_topic(effect.deployment),
        partition=effect.slot,
        key=effect.record.id.encode(),
        value=encode(effect.record),
    )
