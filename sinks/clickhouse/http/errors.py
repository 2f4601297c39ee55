"""Failures of a statement: the engine's messages read, and written the way ClickHouse's HTTP interface answers them."""

import re
from http import HTTPStatus

from topics.errors import PipelineError

UNKNOWN_EXCEPTION = 1002
REQUIRED_PASSWORD = 194
AUTHENTICATION_FAILED = 516

_CODE = re.compile(r"Code: (\d+)\. ")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")

_STATUS_CODES: dict[HTTPStatus, tuple[int, ...]] = {
    HTTPStatus.BAD_REQUEST: (
        *(6, 8, 10, 15, 26, 27, 36, 38, 41, 42, 43, 44, 50, 53, 62, 69, 70, 72, 117, 131),
        *(167, 168, 271, 376, 427, 441, 675, 676),
    ),
    HTTPStatus.UNAUTHORIZED: (REQUIRED_PASSWORD,),
    HTTPStatus.FORBIDDEN: (192, 193, 497, AUTHENTICATION_FAILED),
    HTTPStatus.NOT_FOUND: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 372, 373, 511),
    HTTPStatus.REQUEST_TIMEOUT: (159,),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (229,),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (89,),
    HTTPStatus.NOT_IMPLEMENTED: (48, 344),
    HTTPStatus.SERVICE_UNAVAILABLE: (76, 202, 209, 439),
}
_STATUS_OF_CODE = {code: status for status, codes in _STATUS_CODES.items() for code in codes}


class StatementError(PipelineError):
    """The engine, or the interface before it, refused a statement or failed in it.

    Args:
        message: what is wrong; prefixed with ClickHouse's `Code: n. DB::Exception:` unless it has it.
        engine_code: ClickHouse's error number.
        name: ClickHouse's name of that number, such as `UNKNOWN_TABLE`.

    Source: the mapping from error number to HTTP status is ClickHouse's `exceptionCodeToHTTPStatus`.
    """

    code = "statement_failed"

    def __init__(self, message: str, *, engine_code: int, name: str) -> None:
        text = message if message.startswith("Code: ") else f"Code: {engine_code}. DB::Exception: {message}. ({name})"
        super().__init__(text)
        self.engine_code = engine_code
        self.name = name

    @property
    def status(self) -> int:
        """The HTTP status of an answer that has not begun yet."""
        return _STATUS_OF_CODE.get(self.engine_code, HTTPStatus.INTERNAL_SERVER_ERROR)


def from_engine(error: Exception) -> StatementError:
    """Read what chDB raises: its messages carry number and name, behind a prefix that differs by call."""
    text = str(error).rstrip()
    found = _CODE.search(text)
    if found is None:
        return StatementError(text, engine_code=UNKNOWN_EXCEPTION, name="UNKNOWN_EXCEPTION")
    names = _NAME.findall(text)
    return StatementError(text[found.start() :], engine_code=int(found.group(1)), name=names[-1] if names else "")


def exception_frame(error: StatementError, tag: str) -> bytes:
    """The block that ends a result whose status was sent before the statement failed.

    Source: ClickHouse's HTTP interface: `__exception__`, the tag of the response's `X-ClickHouse-Exception-Tag`, the
    message, then its length and the tag once more.
    """
    message = error.message + "\n"
    size_bytes = len(message.encode())
    return f"\r\n__exception__\r\n{tag}\r\n{message}{size_bytes} {tag}\r\n__exception__\r\n".encode()
