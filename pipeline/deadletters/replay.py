"""Putting dead letters back where they came from, each once.

A record goes back with its key, bytes and headers, to the topic and partition that it lay in. A dispatch that killed
engines is not put back into its slot, where its request has ended: the request itself is, onto its lane, from where the
lane still has it. What keeps a second replay from doubling it is in `ledger`.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.deadletters.ledger import GIVEN_UP_MS, begun_mark, done_mark
from pipeline.deadletters.letters import Letter, Position
from pipeline.deadletters.shelf import CLIENT_ID, Seen, Shelf
from pipeline.runtime import kafka
from pipeline.runtime.reading import existing_partitions, read_to, record_at
from pipeline.settings import KafkaSettings
from topics import names
from topics.codec import decode_slot_record
from topics.dispatches import Dispatch
from topics.errors import CodecError, TransportError
from topics.headers import DLQ_REPLAYED, Headers, header, original_headers

SEND_WITHIN_S: Final = GIVEN_UP_MS / 2000
AT_ONCE: Final = 100
"""Letters that are held in memory together: each may have some megabytes."""
DISPATCHES: Final = "inference.dispatch."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one letter. `record` is the address of what was put back, empty where nothing was."""

    letter: str
    state: Literal["replayed", "would_replay", "skipped", "impossible"]
    why: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Return:
    """A record on its way back."""

    letter: str
    place: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: Headers


class _ImpossibleError(Exception):
    """A letter cannot be put back; the message says why."""


class Replay:
    """One replay. Use it for one call of `put_back`.

    Args:
        settings: the broker.
        shelf: the letters, read by a consumer that this moves about.
        seen: the marks up to now.
        dry_run: only say what would be done.
    """

    def __init__(self, settings: KafkaSettings, shelf: Shelf, seen: Seen, *, dry_run: bool) -> None:
        self._settings = settings
        self._shelf = shelf
        self._seen = seen
        self._dry_run = dry_run
        self._run = uuid.uuid4().hex

    async def put_back(self, positions: Sequence[Position]) -> list[Outcome]:
        """Put letters back; what became of each, in their order.

        Raises:
            TransportError: the broker did not take all in time; run it again, what was put back is known.
        """
        outcomes = []
        for begin in range(0, len(positions), AT_ONCE):
            outcomes += await self._put_some_back(positions[begin : begin + AT_ONCE])
        return outcomes

    async def _put_some_back(self, positions: Sequence[Position]) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        returns: list[_Return] = []
        for position in positions:
            outcome = self._settled(position.address, is_marked=False)
            if outcome is None:
                try:
                    returns.append(await self._return_of(await self._shelf.letter(position)))
                    continue
                except _ImpossibleError as error:
                    outcome = Outcome(letter=position.address, state="impossible", why=str(error))
            outcomes[position.address] = outcome
        for outcome in await self._send_all(returns):
            outcomes[outcome.letter] = outcome
        return [outcomes[position.address] for position in positions]

    def _settled(self, letter: str, *, is_marked: bool) -> Outcome | None:
        """The outcome of a letter that needs nothing done, before or after it was marked by this replay."""
        done = self._seen.ledger.replayed_at(letter)
        if done is not None:
            return Outcome(letter=letter, state="skipped", why="was replayed before", record=done)
        holder = self._seen.ledger.holder(letter)
        if is_marked and holder is not None and holder.run != self._run:
            return Outcome(letter=letter, state="skipped", why="another replay is at it; try again in a minute")
        return None

    async def _return_of(self, letter: Letter) -> _Return:
        """The record that goes back for a letter."""
        if letter.missing_bytes:
            raise _ImpossibleError(f"{letter.missing_bytes} bytes of it were cut off; send the record anew")
        if letter.topic.startswith(DISPATCHES):
            request = await self._request_of(letter)
            if request is not None:
                return request
        if letter.key is None and letter.value is None:
            raise _ImpossibleError("it has neither a key nor a value")
        if not letter.topic or letter.partition is None:
            raise _ImpossibleError("it does not say which partition it comes from; send the record anew")
        return await self._checked(
            letter, letter.topic, letter.partition, letter.key, letter.value, letter.original_headers
        )

    async def _request_of(self, letter: Letter) -> _Return | None:
        """The request of a dispatch, from its lane; None for another record of a slot."""
        try:
            dispatch = decode_slot_record(letter.value or b"")
        except CodecError:
            return None
        if not isinstance(dispatch, Dispatch):
            return None
        topic, partition, offset = names.split_origin(dispatch.origin)
        record = await record_at(self._shelf.log, topic, partition, offset)
        if record is None:
            raise _ImpossibleError(f"its request at {dispatch.origin} is not kept any more; send the request anew")
        headers = original_headers(record.headers)
        return await self._checked(letter, topic, partition, record.key, record.value, headers)

    async def _checked(
        self, letter: Letter, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> _Return:
        place = TopicPartition(topic, partition)
        if place not in await existing_partitions(self._shelf.log, [topic]):
            raise _ImpossibleError(f"there is no {topic}/{partition} any more")
        address = letter.position.address
        return _Return(
            letter=address, place=place, key=key, value=value, headers=[*headers, (DLQ_REPLAYED, address.encode())]
        )

    async def _send_all(self, returns: Sequence[_Return]) -> list[Outcome]:
        if self._dry_run or not returns:
            return [_said(back, "would_replay", f"{back.place.topic}/{back.place.partition}") for back in returns]
        producer = kafka.producer(self._settings, client_id=CLIENT_ID)
        try:
            await producer.start()
            async with asyncio.timeout(SEND_WITHIN_S):
                return await self._send(producer, returns)
        except TimeoutError as error:
            raise TransportError(
                f"the broker did not take everything within {SEND_WITHIN_S:g} s; run it again in a minute: what was "
                "put back is known and not doubled"
            ) from error
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer, returns: Sequence[_Return]) -> list[Outcome]:
        ledger = self._seen.ledger
        before = {back.letter: ledger.first(back.letter) for back in returns}
        ends = await self._shelf.log.end_offsets(list({back.place for back in returns}))
        await self._mark(
            producer,
            [begun_mark(b.letter, run=self._run, target=_at(b.place, ends[b.place])) for b in returns],
        )
        await self._shelf.catch_up(self._seen)
        settled = {back.letter: self._settled(back.letter, is_marked=True) for back in returns}
        outcomes = [outcome for outcome in settled.values() if outcome is not None]
        mine = [back for back in returns if settled[back.letter] is None]
        there: dict[str, str] = {}
        for back in mine:
            begun = before[back.letter]
            if begun is not None and (address := await self._arrived(back, begun.target)):
                there[back.letter] = address
        sent = await asyncio.gather(*(_deliver(producer, back) for back in mine if back.letter not in there))
        marks = there | dict(sent)
        await self._mark(producer, [done_mark(letter, run=self._run, target=at) for letter, at in marks.items()])
        outcomes += [
            Outcome(letter=at, state="skipped", why="an interrupted replay had put it back", record=there[at])
            for at in there
        ]
        return outcomes + [Outcome(letter=letter, state="replayed", record=record) for letter, record in sent]

    async def _arrived(self, back: _Return, since: str) -> str:
        """Where an interrupted replay has put the record, looked for from its mark on; empty if nowhere."""
        log, place = self._shelf.log, back.place
        topic, partition, offset = names.split_origin(since)
        if (topic, partition) != place:
            return ""
        log.assign([place])
        log.seek(place, max(offset, (await log.beginning_offsets([place]))[place]))
        async for records in read_to(log, await log.end_offsets([place])):
            for record in records:
                if header(record.headers, DLQ_REPLAYED) == back.letter.encode():
                    return names.origin_of(record.topic, record.partition, record.offset)
        return ""

    async def _mark(self, producer: AIOKafkaProducer, marks: Sequence[Headers]) -> None:
        """Set marks, all in the first partition, so that they have one order."""
        key = self._run.encode()
        await asyncio.gather(
            *(producer.send_and_wait(names.DEAD_LETTERS, key=key, headers=mark, partition=0) for mark in marks)
        )


def _at(place: TopicPartition, offset: int) -> str:
    return names.origin_of(place.topic, place.partition, offset)


async def _deliver(producer: AIOKafkaProducer, back: _Return) -> tuple[str, str]:
    sent = await producer.send_and_wait(
        back.place.topic, back.value, key=back.key, headers=back.headers, partition=back.place.partition
    )
    return back.letter, names.origin_of(sent.topic, sent.partition, sent.offset)


def _said(back: _Return, state: Literal["would_replay"], where: str) -> Outcome:
    return Outcome(letter=back.letter, state=state, record=where)
