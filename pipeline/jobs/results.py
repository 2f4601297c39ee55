"""Lines of a results file, in the shape of an OpenAI batch output, and what they say about a run that was broken off.

Each has a `response` with the whole answer or an `error`, and never both. Where an id has several lines, the last one
counts. Pure, but for `cut_torn_line`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from pipeline.client import Result
from topics.errors import InvalidRequest, PipelineError

_TAIL_BYTES: Final = 65536


class ResultResponse(Struct, kw_only=True, frozen=True):
    """An answer: `body` is OpenAI's response object."""

    status_code: int
    request_id: str
    body: dict[str, Any] | None


class ResultError(Struct, kw_only=True, frozen=True):
    """Why there is no answer. `retryable`: sending the same request again can help."""

    code: str
    message: str
    retryable: bool = False


class ResultLine(Struct, kw_only=True, frozen=True):
    """The result of one line of input. `id` is the address of its request in Kafka, empty where it never got there."""

    id: str
    custom_id: str
    response: ResultResponse | None = None
    error: ResultError | None = None

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer, 0 where there is none or it does not say."""
        usage = (self.response.body or {}).get("usage") if self.response else None
        return int(usage.get("completion_tokens", 0)) if isinstance(usage, dict) else 0


class _Seen(Struct):
    custom_id: str
    error: ResultError | None = None


_SEEN: Final = msgspec.json.Decoder(_Seen)


def answered(request_id: str, result: Result) -> ResultLine:
    """The line of a completed request."""
    response = ResultResponse(status_code=200, request_id=request_id, body=result.body)
    return ResultLine(id=result.origin, custom_id=request_id, response=response)


def failed(request_id: str, error: PipelineError, *, origin: str = "") -> ResultLine:
    """The line of a request that did not complete."""
    why = ResultError(code=error.code, message=error.message, retryable=error.retryable)
    return ResultLine(id=origin, custom_id=request_id, error=why)


def encode_line(line: ResultLine) -> bytes:
    """A line as it is written, with its line end."""
    return msgspec.json.encode(line) + b"\n"


def settled_ids(lines: Iterable[bytes], *, name: str, retry: bool) -> set[str]:
    """Ids that need not be run again.

    Args:
        lines: of the results file.
        name: of the file, for messages.
        retry: leave out those whose error a retry can help.

    Raises:
        InvalidRequest: the file is no results file.
    """
    settled: set[str] = set()
    for number, line in enumerate(lines, start=1):
        try:
            seen = _SEEN.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"{name}:{number} is no line of results ({error}); name another file") from error
        if retry and seen.error is not None and seen.error.retryable:
            settled.discard(seen.custom_id)
        else:
            settled.add(seen.custom_id)
    return settled


def cut_torn_line(path: Path) -> bool:
    """Cut off a last line without an end, which a killed run leaves behind. Returns whether there was one."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        whole = size
        while whole > 0:
            start = max(0, whole - _TAIL_BYTES)
            file.seek(start)
            end = file.read(whole - start).rfind(b"\n")
            if end >= 0:
                whole = start + end + 1
                break
            whole = start
        file.truncate(whole)
    return whole < size
