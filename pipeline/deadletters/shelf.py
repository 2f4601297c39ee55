"""Reading the dead-letter topic, and removing what lies on it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from pipeline.deadletters.ledger import Ledger
from pipeline.deadletters.letters import Letter, Position, Wanted, is_mark
from pipeline.runtime import kafka
from pipeline.runtime.reading import Record, begin, existing_partitions, read_to, reader, record_at
from pipeline.settings import KafkaSettings
from topics import names
from topics.errors import TransportError

CLIENT_ID = "millrace-dlq"


@dataclass(slots=True)
class Seen:
    """What was found of the letters that were asked for: the newest of them, how many there are, and all marks."""

    letters: list[Letter] = field(default_factory=list)
    matching: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    ends: dict[TopicPartition, int] = field(default_factory=dict)


class Shelf:
    """The dead letters of one cluster, read with one consumer. Made by `shelf`."""

    def __init__(self, settings: KafkaSettings, log: AIOKafkaConsumer) -> None:
        self._settings = settings
        self.log = log

    async def newest(self, wanted: Wanted, *, limit: int) -> Seen:
        """At most `limit` of the wanted letters, the newest first and without their values."""
        seen = Seen()
        async for letter in self._letters(wanted, seen):
            seen.letters.append(_without_value(letter))
            if len(seen.letters) >= 2 * limit:
                seen.letters = _newest(seen.letters, limit)
        seen.letters = _newest(seen.letters, limit)
        return seen

    async def positions(self, wanted: Wanted) -> tuple[list[Position], Seen]:
        """Where all wanted letters lie, the oldest first."""
        seen = Seen()
        found = [letter.position async for letter in self._letters(wanted, seen)]
        return sorted(found, key=lambda position: (position.partition, position.offset)), seen

    async def catch_up(self, seen: Seen) -> None:
        """Read the marks that were set since."""
        self.log.assign(list(seen.ends))
        for place, end in seen.ends.items():
            self.log.seek(place, end)
        seen.ends = dict(await self.log.end_offsets(list(seen.ends)))
        async for records in read_to(self.log, seen.ends):
            for record in records:
                if is_mark(record.headers):
                    seen.ledger.feed(record.headers, record.timestamp)

    async def letter(self, position: Position) -> Letter:
        """The letter at a position, whole.

        Raises:
            TransportError: there is none, or it is not kept any more.
        """
        record = await record_at(self.log, names.DEAD_LETTERS, *position)
        if record is None or is_mark(record.headers):
            raise TransportError(f"there is no dead letter at {position}; `millrace dlq list` shows those there are")
        return letter_of(record)

    async def purge(self, up_to: Position | None) -> Mapping[TopicPartition, tuple[int, int]]:
        """Remove the letters up to a position and with it, or all, and the marks among them.

        Returns:
            First and last offset without, of what was removed, by partition.
        """
        doomed = await self.doomed(up_to)
        admin = kafka.admin(self._settings, client_id=CLIENT_ID)
        await admin.start()
        try:
            if doomed:
                await admin.delete_records({place: RecordsToDelete(end) for place, (_, end) in doomed.items()})
        finally:
            await admin.close()
        return doomed

    async def doomed(self, up_to: Position | None) -> dict[TopicPartition, tuple[int, int]]:
        """What `purge` would remove."""
        places = await self._places()
        first, ends = await self.log.beginning_offsets(places), await self.log.end_offsets(places)
        if up_to is not None:
            place = TopicPartition(names.DEAD_LETTERS, up_to.partition)
            ends = {place: min(up_to.offset + 1, ends.get(place, 0))}
        return {place: (first[place], end) for place, end in ends.items() if place in first and first[place] < end}

    async def _letters(self, wanted: Wanted, seen: Seen) -> AsyncIterator[Letter]:
        seen.ends = await begin(self.log, await self._places(), since_ms=wanted.since_ms)
        async for records in read_to(self.log, seen.ends):
            for record in records:
                if is_mark(record.headers):
                    seen.ledger.feed(record.headers, record.timestamp)
                elif wanted.takes(letter := letter_of(record)):
                    seen.matching += 1
                    yield letter

    async def _places(self) -> list[TopicPartition]:
        places = await existing_partitions(self.log, [names.DEAD_LETTERS])
        if not places:
            raise TransportError(f"there is no topic {names.DEAD_LETTERS}; make it with `millrace topics create`")
        return places


@asynccontextmanager
async def shelf(settings: KafkaSettings) -> AsyncIterator[Shelf]:
    """The dead letters of a cluster."""
    async with reader(settings, client_id=CLIENT_ID) as log:
        yield Shelf(settings, log)


def letter_of(record: Record) -> Letter:
    """The letter that a record of the dead-letter topic is."""
    return Letter(
        position=Position(record.partition, record.offset),
        at_ms=record.timestamp,
        key=record.key,
        headers=list(record.headers),
        value=record.value,
        value_bytes=len(record.value or b""),
    )


def _without_value(letter: Letter) -> Letter:
    return Letter(
        position=letter.position,
        at_ms=letter.at_ms,
        key=letter.key,
        headers=letter.headers,
        value=None,
        value_bytes=letter.value_bytes,
    )


def _newest(letters: list[Letter], limit: int) -> list[Letter]:
    return sorted(letters, key=lambda letter: (letter.at_ms, letter.position), reverse=True)[:limit]
