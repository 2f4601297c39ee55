"""From the error inside a terminal record back to an exception of the tree in `topics.errors`. Pure."""

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar

from topics.errors import Cancelled, DeadlineExceeded, EngineError, PipelineError, RejectedError, TransportError
from topics.responses import CancelledRequest, Expired, Failed, Rejected, TerminalRecord


class AnswerTimeout(TransportError):
    """The pipeline was silent for longer than the client was told to wait. The request was cancelled."""

    code: ClassVar[str] = "answer_timeout"
    http_status: ClassVar[int] = 504


class AnswerNotFound(TransportError):
    """The log holds no answer to the request, or not its beginning any more."""

    code: ClassVar[str] = "answer_not_found"
    http_status: ClassVar[int] = 404
    retryable: ClassVar[bool] = False


def failure_of(terminal: TerminalRecord) -> PipelineError:
    """The exception that a terminal record other than `completed` stands for.

    A code that this version does not know gives the class of the record's kind (a `rejected` one a `RejectedError`)
    with the record's `code` and `retryable`. The request's id and origin are in the exception's notes.
    """
    body = terminal.error
    base = _base_of(terminal)
    if body is None:
        failure = base(f"request {terminal.id} ended without a reason")
    else:
        kind = _class_of(body.code, body.retryable, base)
        failure = kind(body.message, param=body.param, retry_after_s=body.retry_after_s)
    failure.add_note(f"request {terminal.id}, origin {terminal.origin}")
    return failure


def _base_of(terminal: TerminalRecord) -> type[PipelineError]:
    match terminal:
        case Rejected():
            return RejectedError
        case Expired():
            return DeadlineExceeded
        case CancelledRequest():
            return Cancelled
        case Failed():
            return EngineError
        case _:
            return PipelineError


def _class_of(code: str, retryable: bool, base: type[PipelineError]) -> type[PipelineError]:
    known = _classes().get(code, base)
    if known.code == code and known.retryable == retryable:
        return known
    return type(known.__name__, (known,), {"code": code, "retryable": retryable, "__doc__": known.__doc__})


@lru_cache(maxsize=1)
def _classes() -> dict[str, type[PipelineError]]:
    """The tree by code. A class that inherits its code (`InvalidRequest`) is more precise than the one it has it from.

    Only the classes of `topics.errors`: what a terminal can carry.
    """
    ours = (kind for kind in _tree(PipelineError) if kind.__module__ == PipelineError.__module__)
    return {kind.code: kind for kind in ours}


def _tree(root: type[PipelineError]) -> Iterator[type[PipelineError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)
