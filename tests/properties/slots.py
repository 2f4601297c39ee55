"""A model of workers that take over from each other, without a broker: two slots, one request, one response log.

A worker is a generator; between any two of its steps others may run, and it may stall for long or never run again.
What it knows about being the owner is what Kafka would tell it: markers in the slot's log, and whether the group
accepts its commit. The reader rule is the product's.
"""

import itertools
import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from topics.names import origin_of
from topics.reader import Reader, Verdict
from topics.responses import Completed, Delta, Mode, Rejected, Response, Started

ANSWER_TOKENS = 4
ORIGIN = origin_of("inference.requests.m.bulk", 0, 0)
SLOTS = (0, 1)


@dataclass(slots=True)
class Tape:
    """What a reader of the response log ends up with."""

    reader: Reader = field(default_factory=Reader)
    tokens: list[int] = field(default_factory=list)
    ends: list[Response] = field(default_factory=list)

    def feed(self, record: Response) -> Verdict:
        verdict = self.reader.feed(record)
        if verdict is Verdict.RESTARTED:
            self.tokens.clear()
        elif verdict is Verdict.DELIVERED and isinstance(record, Delta):
            self.tokens.extend(record.token_ids)
        elif verdict is Verdict.ENDED:
            self.ends.append(record)
        return verdict


def read(log: list[Response]) -> Tape:
    tape = Tape()
    for record in log:
        tape.feed(record)
    return tape


@dataclass(frozen=True, slots=True)
class _Marker:
    worker: int


@dataclass(frozen=True, slots=True)
class _Dispatch:
    hop: int


@dataclass(slots=True)
class World:
    """The logs, the group's view of who owns what, and how every token came about."""

    rng: random.Random
    responses: list[Response] = field(default_factory=list)
    contexts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """For each token, the tokens that the engine had before it."""
    hop: int = 0
    _slots: dict[int, list[_Marker | _Dispatch]] = field(default_factory=lambda: {slot: [] for slot in SLOTS})
    _owners: dict[int, int] = field(default_factory=dict)
    _committed: dict[int, int] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0))
    _names: Iterator[int] = field(default_factory=itertools.count)

    def dispatch(self) -> None:
        """The processor writes the request into a slot, with the hop it knows."""
        self._slots[self.rng.choice(SLOTS)].append(_Dispatch(self.hop))

    def dispatch_again(self) -> None:
        """The processor gives the request a new hop: handed back, drained, or its worker declared dead."""
        self.hop += 1
        self.dispatch()

    def reject(self) -> None:
        """A processor ends the request without having dispatched it."""
        self.responses.append(Rejected(id="r", origin=ORIGIN))

    def worker(self, slot: int) -> Iterator[None]:
        """A new owner of a slot, from its assignment on."""
        me = next(self._names)
        self._owners[slot] = me
        yield
        log = self._slots[slot]
        log.append(_Marker(me))
        term = len(log) - 1
        yield
        if self._owners[slot] != me:
            return  # the commit after the marker was refused
        yield
        yield from self._serve(me, slot, term)

    def _serve(self, me: int, slot: int, term: int) -> Iterator[None]:
        log, position = self._slots[slot], self._committed[slot]
        while True:
            if position >= len(log):
                yield
                continue
            record = log[position]
            if isinstance(record, _Marker) and record.worker != me and position > term:
                return  # the slot is lost
            if isinstance(record, _Dispatch):
                place = origin_of("inference.dispatch.m.v1", slot, position)
                is_new = position > term and record.hop == 0
                yield from self._answer(record.hop, place, term, "fresh" if is_new else "resume")
            yield
            if self._owners[slot] != me:
                return  # the commit was refused
            position += 1
            self._committed[slot] = max(self._committed[slot], position)

    def _answer(self, hop: int, place: str, term: int, mode: Mode) -> Iterator[None]:
        """Attempts until one ends, or is found not to count. Each returns whether there must be another."""
        while (yield from self._attempt(hop, place, term, mode)):
            mode = "resume"

    def _attempt(self, hop: int, place: str, term: int, mode: Mode) -> Generator[None, None, bool]:
        attempt = f"a{next(self._names)}"
        if mode == "resume" and self.rng.random() < 0.1:
            mode = "restart"
        self.responses.append(
            Started(
                id="r",
                origin=ORIGIN,
                attempt=attempt,
                mode=mode,
                hop=hop,
                dispatch=place,
                term=term,
                deployment="m@v1",
            )
        )
        end = len(self.responses)
        yield
        context: list[int] = []
        if mode != "fresh":
            tape = read(self.responses[:end])
            current = tape.reader.current
            if tape.ends or current is None or current.attempt != attempt:
                return False  # it has ended, or another attempt answers
            context = tape.tokens
        for seq in range(len(context), ANSWER_TOKENS):
            if self.rng.random() < 0.01:
                return True  # a delivery failed: the attempt ends unacknowledged
            token = next(self._names)
            self.contexts[token] = tuple(context)
            context.append(token)
            self.responses.append(Delta(id="r", origin=ORIGIN, attempt=attempt, seq=seq, text="", token_ids=[token]))
            yield
        self.responses.append(
            Completed(id="r", origin=ORIGIN, attempt=attempt, next_seq=ANSWER_TOKENS, finish_reason="length")
        )
        return False
