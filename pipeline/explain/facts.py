"""What a story is told from, row by row, and what it is told in. Plain data."""

import msgspec
from msgspec import Struct

from pipeline.report.story import Attempt

Figures = dict[str, float]
"""The numbers behind a decision, by name with unit."""


class Happening(Struct, kw_only=True, frozen=True):
    """An event of a request; `at_us` is since the epoch by the clock of the process that told it."""

    at_us: int
    kind: str
    component: str
    process: str
    origin: str
    attempt: str
    tenant: str
    latency_class: str
    model: str
    worker: str
    batch_id: str
    batch_size: int
    tokens_in: int
    tokens_out: int
    queue_depth: int
    running: int
    outcome: str
    error_code: str
    reason: str
    detail: str

    @property
    def figures(self) -> Figures:
        """The figures of `detail`; none where it is something else."""
        return figures_of(self.detail)


class Meanwhile(Struct, kw_only=True, frozen=True):
    """Something that happened to the lanes of the model while the request waited."""

    at_us: int
    kind: str
    latency_class: str
    queue_depth: int
    reason: str
    detail: str

    @property
    def figures(self) -> Figures:
        """The figures of `detail`."""
        return figures_of(self.detail)


class Mate(Struct, kw_only=True, frozen=True):
    """A request that was dispatched in one batch with this one."""

    batch_id: str
    request_id: str
    tenant: str


class Rows(Struct, kw_only=True, frozen=True):
    """All that the account tells of an id."""

    attempts: list[Attempt]
    happenings: list[Happening]
    meanwhile: list[Meanwhile] = []
    mates: list[Mate] = []


class Sentence(Struct, kw_only=True, frozen=True):
    """One thing that happened. `after_ms` is since the request's record, None where no time belongs to it.

    `kind` is that of the event it tells of; `figures` are the numbers it was told from.
    """

    after_ms: float | None
    kind: str
    text: str
    figures: Figures = {}


class Story(Struct, kw_only=True, frozen=True):
    """One request. `outcome` is empty while it has not ended."""

    id: str
    tenant: str
    model: str
    latency_class: str = msgspec.field(name="class")
    origin: str
    produced_us: int
    outcome: str
    attempts: int
    sentences: list[Sentence]


def figures_of(detail: str) -> Figures:
    """The figures of an event's `detail`, which is a JSON object of numbers or some other text."""
    if not detail.startswith("{"):
        return {}
    try:
        return msgspec.json.decode(detail, type=Figures)
    except msgspec.DecodeError:
        return {}
