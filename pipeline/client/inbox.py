"""Which answer a response record belongs to. Pure.

A response partition is shared: other processes' answers lie in it, other requests with the same id, and answers that
arrive before the broker's acknowledgement has told the origin of their request. A record is matched by its key (the
id), before it is decoded, and then by its `origin`.
"""

from collections.abc import Iterator

from pipeline.client.answer import Answer
from topics.codec import decode_response
from topics.responses import Response


class _Requests:
    """The requests of one id."""

    __slots__ = ("early", "expected", "open")

    def __init__(self) -> None:
        self.open: dict[str, Answer] = {}
        self.expected = 0
        self.early: list[Response] = []


class Inbox:
    """The answers that are not over, by id and origin.

    For each request, call `expect` before it is produced and then `open` or `disown`, once. Records of an id that is
    expected are kept until its last request has an origin, because they may be that request's.
    """

    def __init__(self) -> None:
        self._requests: dict[bytes, _Requests] = {}
        self.foreign = 0
        """Records of other readers of the partition."""

    def expect(self, request_id: str) -> None:
        """A request is about to be produced."""
        self._requests.setdefault(request_id.encode(), _Requests()).expected += 1

    def disown(self, request_id: str) -> None:
        """An expected request was not produced."""
        self._settle(request_id.encode())

    def open(self, answer: Answer, origin: str, now_s: float) -> None:
        """An expected request was acknowledged at `origin`: what has arrived of its answer is fed to it."""
        key = answer.id.encode()
        requests = self._requests[key]
        answer.accept(origin, now_s)
        requests.open[origin] = answer
        for record in requests.early:
            if record.origin == origin:
                answer.feed(record, now_s)
        if answer.is_over:
            del requests.open[origin]
        self._settle(key)

    def forget(self, answer: Answer) -> None:
        """Nobody waits for this answer any more. Idempotent."""
        key = answer.id.encode()
        requests = self._requests.get(key)
        if requests is not None and answer.origin is not None:
            requests.open.pop(answer.origin, None)
            self._tidy(key, requests)

    def waits_for(self, request_id: str) -> bool:
        """Whether an answer to a request of this id is open or about to be: cancelling the id would end it as well."""
        return request_id.encode() in self._requests

    def feed(self, key: bytes | None, value: bytes, now_s: float) -> None:
        """The next record of the response partition.

        Raises:
            CodecError: the record has one of our ids and is no response.
        """
        requests = None if key is None else self._requests.get(key)
        if key is None or requests is None:
            self.foreign += 1
            return
        record = decode_response(value)
        answer = requests.open.get(record.origin)
        if answer is not None:
            answer.feed(record, now_s)
            if answer.terminal is not None:
                del requests.open[record.origin]
                self._tidy(key, requests)
        elif requests.expected:
            requests.early.append(record)

    def __iter__(self) -> Iterator[Answer]:
        """The open answers, as they are at the first step: they may be forgotten meanwhile."""
        return iter([answer for requests in self._requests.values() for answer in requests.open.values()])

    def __len__(self) -> int:
        """How many answers are open."""
        return sum(len(requests.open) for requests in self._requests.values())

    def _settle(self, key: bytes) -> None:
        requests = self._requests[key]
        requests.expected -= 1
        if not requests.expected:
            requests.early.clear()
        self._tidy(key, requests)

    def _tidy(self, key: bytes, requests: _Requests) -> None:
        if not requests.open and not requests.expected:
            del self._requests[key]
