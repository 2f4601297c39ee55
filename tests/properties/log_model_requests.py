"""What processors do in the model: requests go into slots, are handed on, ended, cancelled; and who carries them.

Only what reaches the logs is modelled, together with what becomes of it: a request is carried while something that is
not committed can still lead to its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from processors.admission.returned import returned
from processors.endings import end
from processors.events import Address, Handback
from tests.properties.log_model import T0_MS, Broker, Choices, Entry, Group, Place, Record, Violation, is_finished
from tests.properties.log_model_engine import Library, Question
from tests.properties.log_model_readers import Tape
from tests.properties.log_model_worker import SLOTS
from tests.unit.processors.builders import a_policy
from tests.unit.worker.builders import a_body, a_dispatch
from topics import names
from topics.codec import decode_response, decode_return, encode
from topics.dispatches import Cancel, Dispatch, Primary, Return, Stations
from topics.responses import Rejected

REPLIES: Final[Place] = (names.RESPONSES, 0)
RETURNS: Final[Place] = (names.returns_topic("m"), 0)
LETTERS: Final[Place] = (names.DEAD_LETTERS, 0)
POLICY: Final = a_policy()
DECIDED: Final = Stations(produced_at_us=T0_MS * 1000, dispatched_at_us=T0_MS * 1000)


@dataclass
class Asked:
    """A request: how it began, where it was dispatched, and what became of it."""

    dispatch: Dispatch
    tape: Tape
    places: list[tuple[int, int, Dispatch]] = field(default_factory=list)
    """Slot, offset and record of every dispatch of it."""
    hop: int = 0
    is_buried: bool = False
    """It lies among the dead letters."""

    @property
    def is_over(self) -> bool:
        return self.tape.end is not None or self.is_buried


class Requests:
    """All requests of a world."""

    def __init__(self, broker: Broker, group: Group, library: Library, choices: Choices) -> None:
        self.written: list[Record] = []
        """All answer records, also those that retention has taken away."""
        self._broker = broker
        self._group = group
        self._library = library
        self._choices = choices
        self._asked: dict[str, Asked] = {}
        self._handed_on = 0
        """Returns that the processor has committed."""
        self._ended = 0

    def __iter__(self) -> Iterator[Asked]:
        return iter(self._asked.values())

    @property
    def are_handed_on(self) -> bool:
        """Whether no return waits."""
        return self._handed_on == self._broker.log(RETURNS).end

    # What happens

    def ask(self) -> None:
        """A new request, of any kind."""
        number = len(self._asked)
        kind = self._choices.byte() % 8
        primary = next(iter(self), None) if kind == 7 else None
        dispatch, question = self._attached(number, primary) if primary is not None else self._new(number, kind)
        asked = self._asked[dispatch.origin] = Asked(dispatch, Tape(question, self._library))
        if primary is not None:
            asked.tape.excuses = primary.tape.excuses
        elif kind == 6:
            asked.tape.excuses.add("expired")
        self._dispatch(asked, dispatch)

    def double(self) -> None:
        """A processor that stalled and its successor have both dispatched it."""
        asked = self._any()
        self._dispatch(asked, self._choices.of([dispatch for _, _, dispatch in asked.places]))

    def again(self) -> None:
        """It is given to another worker on purpose."""
        asked = self._any()
        last = asked.places[-1][2]
        first_ms = last.first_dispatched_at_ms or T0_MS
        self._dispatch(asked, msgspec.structs.replace(last, hop=asked.hop + 1, first_dispatched_at_ms=first_ms))

    def hand_on(self) -> None:
        """The processor dispatches what was handed back; it may die before it has committed that."""
        record = self._return()
        if record is not None:
            self._dispatch(self._asked[record.dispatch.origin], _next_hop(record))
            self._handed_on += not self._choices.chance(0.3)

    def end_returned(self) -> None:
        """A processor ends what was handed back, instead of dispatching it again."""
        record = self._return()
        if record is not None:
            self._asked[record.dispatch.origin].tape.excuses.add("cancelled")
            ticket = returned(Handback(at=Address(*RETURNS, self._handed_on), record=record), POLICY)
            answer, _ = end(ticket, "cancelled", now_us=0, new_attempt=self._new_attempt)
            self.write([(REPLIES, ticket.id.encode(), encode(one)) for one in answer.records])
            self._handed_on += not self._choices.chance(0.3)

    def reject(self) -> None:
        """A processor ends a request that it believes not to be dispatched."""
        asked = self._any()
        if self._choices.chance(0.2):
            asked.tape.excuses.add("rejected")
            record = Rejected(id=asked.dispatch.id, origin=asked.dispatch.origin)
            self.write([(REPLIES, asked.dispatch.id.encode(), encode(record))])

    def cancel(self) -> None:
        """Its sender does not want it any more; the record goes to where it was last."""
        asked = self._any()
        if self._choices.chance(0.3):
            self.excuse("cancelled")
            slot, _, dispatch = asked.places[-1]
            cancel = Cancel(id=dispatch.id, tenant=dispatch.tenant, origin=dispatch.origin)
            self._broker.append((SLOTS, slot), b"", encode(cancel))

    # What is observed

    def write(self, batch: list[Entry]) -> None:
        """Records arrive at the broker, and are judged."""
        for place, record in self._broker.write(batch):
            if place == REPLIES:
                self.written.append(record)
                response = decode_response(record.value)
                self._asked[response.origin].tape.feed(response)
            elif place == LETTERS:
                self._asked[msgspec.json.decode(record.value)["origin"]].is_buried = True

    def excuse(self, outcome: str) -> None:
        """Something happens that may end any request like this."""
        for asked in self:
            asked.tape.excuses.add(outcome)

    def check_carried(self, cause: str) -> None:
        """Whatever was committed: who has not ended has somebody who will end it."""
        for origin, asked in self._asked.items():
            if not asked.is_over and not self._is_carried(asked):
                raise Violation(f"{cause}, and nobody will end {origin}")

    # Inside

    def _new(self, number: int, kind: int) -> tuple[Dispatch, Question]:
        name, is_long = f"question {number}", kind in (3, 4)
        tokens, at_once = (40, 16) if is_long else (2 + self._choices.byte() % 4, 1)
        question = self._library.questions[name] = Question(name, tokens, at_once, lags=kind in (2, 4))
        penalty = {"presence_penalty": 1} if kind == 5 else {}
        dispatch = a_dispatch(
            id=f"r{number}",
            origin=_origin(number),
            body=a_body(stream=not is_long, max_tokens=tokens, content=name, **penalty),
            deadline_at_ms=T0_MS + (10_000 if kind == 6 else 10**9),
            stations=DECIDED,
        )
        return dispatch, question

    def _attached(self, number: int, primary: Asked) -> tuple[Dispatch, Question]:
        """The same again: it is told the answer of another request."""
        first = primary.dispatch
        shared = Primary(id=first.id, origin=first.origin, reply=first.reply, since_ms=T0_MS - 2000)
        dispatch = a_dispatch(
            id=f"r{number}",
            origin=_origin(number),
            body=first.body,
            deadline_at_ms=T0_MS + 10**9,
            stations=DECIDED,
            primary=shared,
        )
        return dispatch, primary.tape.question

    def _dispatch(self, asked: Asked, dispatch: Dispatch) -> None:
        slot = self._choices.of(list(self._group.committed))
        record = self._broker.append((SLOTS, slot), dispatch.id.encode(), encode(dispatch))
        asked.places.append((slot, record.offset, dispatch))
        asked.hop = max(asked.hop, dispatch.hop)

    def _any(self) -> Asked:
        return self._choices.of(list(self))

    def _return(self) -> Return | None:
        """The next return that is not committed."""
        if self.are_handed_on:
            return None
        return decode_return(self._broker.log(RETURNS).read(self._handed_on, 1)[0].value)

    def _new_attempt(self) -> str:
        self._ended += 1
        return f"p{self._ended}"

    def _is_carried(self, asked: Asked) -> bool:
        """Whether a dispatch or a return that is not committed may still become, or is, the current attempt's."""
        current = asked.tape.reader.current
        for slot, offset, dispatch in asked.places:
            if not is_finished(self._group.committed[slot], offset):
                address = names.origin_of(SLOTS, slot, offset)
                if current is None or dispatch.hop > current.hop or address == current.dispatch:
                    return True
        log = self._broker.log(RETURNS)
        waiting = [decode_return(record.value).dispatch for record in log.read(self._handed_on, len(log.records))]
        of_it = [dispatch for dispatch in waiting if dispatch.origin == asked.dispatch.origin]
        return any(current is None or dispatch.hop + 1 > current.hop for dispatch in of_it)


def _origin(number: int) -> str:
    return names.origin_of("inference.requests.m.interactive", 0, number)


def _next_hop(record: Return) -> Dispatch:
    """What the processor makes of a return."""
    dispatch = record.dispatch
    return msgspec.structs.replace(
        dispatch,
        hop=dispatch.hop + 1,
        first_dispatched_at_ms=dispatch.first_dispatched_at_ms or record.dispatched_at_ms,
        primary=None if record.reason == "detached" else dispatch.primary,
    )
