"""Everything that can go wrong with a request, as one tree.

    PipelineError
      RequestError              the sender's mistake; sending it again changes nothing
        InvalidRequest  UnknownEndpoint  InvalidReply  InvalidDeadline  ModelNotFound
        BodyTooLarge    ContextTooLong   IdConflict    Unsupported
      RejectedError             turned away before it was queued; may be sent again
        QueueFull  DeadlineUnmeetable  RateLimited
      EvictedError              queued, and then it was too late
        DeadlineExceeded  Cancelled
      EngineError               the engine tried
        GenerationFailed        this request only
        EngineDead              every request of this worker
      TransportError            the broker or the store could not be reached; the same call may work later
      CodecError                bytes that are no record: they go to the dead letters
      SettingsError             configuration that cannot work

Each class has a stable `code` (the label in traces and in SQL), the HTTP status that a gateway would answer, and
whether sending the same request again can help. Clients should know all of them; `queue_full` is reserved, and
nothing sends it yet.
"""

from typing import ClassVar


class PipelineError(Exception):
    """Root of the tree.

    Args:
        message: names the thing, the value, the limit and the way out; no prompt text, no secrets.
        param: the field of the request at fault, if one is.
        retry_after_s: seconds after which a retry has a chance; only where `retryable`.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class RequestError(PipelineError):
    """The sender's mistake."""

    code = "invalid_request"
    http_status = 400


class InvalidRequest(RequestError):
    """A field is missing, of the wrong type or out of its range."""


class UnknownEndpoint(RequestError):
    """The endpoint is not one that Millrace serves, or the body does not tell which one is meant."""

    code = "unknown_endpoint"
    http_status = 404


class InvalidReply(RequestError):
    """`reply` names a topic or a partition that may not be written to."""

    code = "invalid_reply"


class InvalidDeadline(RequestError):
    """`deadline_ms` is not within its range."""

    code = "invalid_deadline"


class ModelNotFound(RequestError):
    """No deployment serves the model."""

    code = "model_not_found"
    http_status = 404


class BodyTooLarge(RequestError):
    """The record is larger than the limit of its topic."""

    code = "body_too_large"
    http_status = 413


class ContextTooLong(RequestError):
    """Prompt and answer do not fit into the model's context."""

    code = "context_length_exceeded"


class IdConflict(RequestError):
    """The id is in use by a request with another body."""

    code = "id_conflict"
    http_status = 409


class Unsupported(RequestError):
    """The deployment's engine cannot do what a field asks for."""

    code = "unsupported"


class RejectedError(PipelineError):
    """Turned away before it was queued."""

    code = "rejected"
    http_status = 503
    retryable = True


class QueueFull(RejectedError):
    """The lane holds as many requests as it may."""

    code = "queue_full"


class DeadlineUnmeetable(RejectedError):
    """The prediction says that the answer would come too late."""

    code = "deadline_unmeetable"


class RateLimited(RejectedError):
    """The tenant is over its quota."""

    code = "rate_limited"
    http_status = 429


class EvictedError(PipelineError):
    """Queued, and ended before it was finished."""

    code = "evicted"
    http_status = 503


class DeadlineExceeded(EvictedError):
    """The deadline passed before the answer was complete."""

    code = "deadline_exceeded"
    http_status = 504
    retryable = True


class Cancelled(EvictedError):
    """The sender asked to stop."""

    code = "cancelled"
    http_status = 499


class EngineError(PipelineError):
    """The engine tried."""

    code = "engine_error"
    http_status = 502
    retryable = True


class GenerationFailed(EngineError):
    """This request failed inside the engine; its neighbours did not."""

    code = "generation_failed"
    http_status = 500


class EngineDead(EngineError):
    """The engine is gone and its worker must start it again."""

    code = "engine_dead"
    http_status = 503


class TransportError(PipelineError):
    """The broker or the store could not be reached, or did not acknowledge."""

    code = "transport_error"
    http_status = 503
    retryable = True


class CodecError(PipelineError):
    """Bytes that are no record of the expected type."""

    code = "undecodable"
    http_status = 400


class SettingsError(PipelineError):
    """Configuration that cannot work."""

    code = "invalid_settings"
