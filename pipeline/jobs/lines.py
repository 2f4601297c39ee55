"""One line of an input file: a line of an OpenAI batch file, or a plain request body. Pure.

A batch line is `{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {...}}`; `id` is understood
for `custom_id` and `endpoint` for `url`. Any object without `body` is taken for a body itself.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from topics.bodies import CHAT, COMPLETIONS, decode_body, endpoint_of
from topics.errors import InvalidRequest, RequestError

MAX_ID_CHARS: Final = 256
DROPPED: Final = ("model", "stream", "stream_options")
"""Fields of a body that the job decides: the model is the job's, and results are whole answers."""


RESERVED: Final = frozenset({"id", "deadline_ms", "latency_class", "session", "timeouts", "traceparent"})
"""Words of the envelope, which have no place in a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request of a job. `number` is its line in the file, from 1."""

    number: int
    id: str
    body: dict[str, Any]


def parse_lines(lines: Iterable[bytes], *, name: str) -> Iterator[Line]:
    """The requests of a file, in its order; empty lines are passed over.

    Args:
        lines: of the file.
        name: of the file, for ids and messages.

    Raises:
        InvalidRequest: a line is no request, or repeats the id of another; the message has its number.
    """
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parsed = parse_line(line, number=number, name=name)
        if parsed.id in seen:
            raise InvalidRequest(f"{name}:{number} has the id {parsed.id!r} of line {seen[parsed.id]}; ids must differ")
        seen[parsed.id] = number
        yield parsed


def parse_line(line: bytes, *, number: int, name: str) -> Line:
    """One request. A line without an id gets one made of the file's name, its number and its content, so that the same
    file has the same ids tomorrow.

    Raises:
        InvalidRequest: it is no JSON object, or no request of a served endpoint; the message has its number.
    """
    where = f"{name}:{number}"
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{where} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where} is no JSON object; write a batch line or a request body")
    envelope = value if "body" in value else {"body": value}
    body = envelope["body"]
    if not isinstance(body, dict):
        raise InvalidRequest(f"{where}: 'body' is no JSON object")
    body = {field: content for field, content in body.items() if field not in DROPPED}
    _check(where, envelope, body)
    return Line(number=number, id=_id_of(envelope, line, where=where, name=name, number=number), body=body)


def _check(where: str, envelope: dict[str, Any], body: dict[str, Any]) -> None:
    named = envelope.get("url") or envelope.get("endpoint")
    if named is not None and named not in (CHAT, COMPLETIONS):
        raise InvalidRequest(f"{where}: {named!r} is not served; use {CHAT} or {COMPLETIONS}")
    misplaced = sorted(RESERVED & body.keys())
    if misplaced:
        raise InvalidRequest(f"{where}: {misplaced[0]!r} does not belong into a body; put it beside 'body'")
    encoded = msgspec.json.encode(body)
    try:
        endpoint = endpoint_of(encoded)
        decode_body(endpoint, encoded)
    except RequestError as error:
        raise InvalidRequest(f"{where}: {error.message}", param=error.param) from error
    if named is not None and named != endpoint:
        raise InvalidRequest(f"{where}: the body is one of {endpoint}, not of {named}")


def _id_of(envelope: dict[str, Any], line: bytes, *, where: str, name: str, number: int) -> str:
    given = envelope.get("custom_id", envelope.get("id"))
    if given is None:
        return f"{name[:200]}-{number}-{hashlib.sha256(line.strip()).hexdigest()[:12]}"
    if not isinstance(given, str) or not 0 < len(given) <= MAX_ID_CHARS:
        raise InvalidRequest(f"{where}: its id is no text of 1 to {MAX_ID_CHARS} characters")
    return given
