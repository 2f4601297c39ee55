"""From terminal records back to exceptions."""

import pytest

from pipeline.client.failures import failure_of
from topics import errors
from topics.errors import PipelineError
from topics.responses import CancelledRequest, ErrorBody, Expired, Failed, Rejected, TerminalRecord


def _kinds(root: type[PipelineError] = PipelineError) -> list[type[PipelineError]]:
    return [
        root,
        *(kind for child in root.__subclasses__() if child.__module__ == errors.__name__ for kind in _kinds(child)),
    ]


@pytest.mark.parametrize("kind", [kind for kind in _kinds() if kind is not errors.RequestError])
def test_every_class_comes_back_as_itself(kind: type[PipelineError]) -> None:
    sent = kind("why", param="body.n", retry_after_s=2.0)
    failure = failure_of(Failed(id="a", origin="o", error=ErrorBody.of(sent)))
    assert type(failure) is kind
    assert (failure.message, failure.param, failure.retry_after_s) == ("why", "body.n", 2.0)


def _body(*, retryable: bool) -> ErrorBody:
    return ErrorBody(message="?", type="Newer", param=None, code="newer_code", retryable=retryable)


@pytest.mark.parametrize(
    ("terminal", "base"),
    [
        (Rejected(id="a", origin="o", error=_body(retryable=False)), errors.RejectedError),
        (Expired(id="a", origin="o", error=_body(retryable=False)), errors.DeadlineExceeded),
        (CancelledRequest(id="a", origin="o", error=_body(retryable=True)), errors.Cancelled),
        (Failed(id="a", origin="o", error=_body(retryable=False)), errors.EngineError),
    ],
)
def test_a_code_of_a_newer_version_is_of_the_records_kind(terminal: TerminalRecord, base: type[PipelineError]) -> None:
    failure = failure_of(terminal)
    assert isinstance(failure, base)
    assert failure.code == "newer_code"
    assert terminal.error is not None and failure.retryable is terminal.error.retryable


def test_the_record_decides_whether_to_try_again() -> None:
    body = ErrorBody(message="full", type="QueueFull", param=None, code="queue_full", retryable=False)
    failure = failure_of(Rejected(id="a", origin="o", error=body))
    assert isinstance(failure, errors.QueueFull)
    assert failure.retryable is False


def test_a_terminal_without_a_reason_is_still_of_its_kind() -> None:
    assert isinstance(failure_of(CancelledRequest(id="a", origin="o")), errors.Cancelled)


def test_a_failure_notes_its_request() -> None:
    assert failure_of(Failed(id="a", origin="lane/0/7")).__notes__ == ["request a, origin lane/0/7"]
