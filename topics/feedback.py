"""What clients say about answers, on `inference.feedback`: a score or a label for a request id."""

from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from topics.errors import InvalidRequest
from topics.requests import Id, wire_version

Word = Annotated[str, Meta(max_length=256)]
"""Names a thing: no prose."""


class Feedback(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag="feedback"):
    """One judgement of one answer. Judgements of one signal are compared with each other.

    Attributes:
        id: of the request, as its sender gave it or was told.
        tenant: whose request it is; with `model` and `id` it names one. Without them, a judgement counts where one
            request alone has the id.
        model: that was asked.
        signal: what is judged: `thumbs`, `accuracy`, `refund`.
        score: higher is better, in whatever unit the signal has.
        label: instead of a score, or beside it.
        source: who judges.

    Raises:
        ValueError: neither a score nor a label (when it is decoded: `CodecError`).
    """

    id: Id
    signal: Id
    score: float | None = None
    label: Word = ""
    source: Word = ""
    tenant: Word = ""
    model: Word = ""
    v: int = msgspec.field(default_factory=wire_version)

    @classmethod
    def of(cls, **fields: object) -> Self:
        """Feedback from what a caller gives.

        Raises:
            InvalidRequest: a field is missing, of a wrong type or out of its range, or nothing is said.
        """
        try:
            return msgspec.convert({"type": "feedback", **fields}, cls)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"feedback: {error}") from error

    def __post_init__(self) -> None:
        if self.score is None and not self.label:
            raise ValueError("feedback has neither a score nor a label; give one of them")
