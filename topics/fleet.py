"""What workers say about themselves, read by processors and `millrace status`.

A heartbeat is a whole statement, never a difference: a reader needs only the newest one of each worker. It goes out on
change and at least every 200 ms; a worker whose newest heartbeat is older than 3 s gets no work.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from topics.requests import wire_version

Count = Annotated[int, Meta(ge=0)]
EngineKind = Literal["vllm", "onnx", "simulated"]
EngineMode = Literal["continuous", "run_to_completion"]
WorkerState = Literal["loading", "ready", "draining", "stopped"]

HEARTBEAT_INTERVAL_S: Final = 0.2
STALE_AFTER_S: Final = 3.0
MAX_SAMPLES: Final = 8
"""Most `samples` and most `batches` of one heartbeat: the newest ones; what is left out is only learned from."""
MAX_PREFIXES: Final = 64


class Slot(Struct, kw_only=True, frozen=True):
    """A slot that the worker owns.

    `term` is the offset of its owner marker. `seen` maps the `sender` of dispatches to the highest `seq` read from this
    slot, so that a processor knows which of its dispatches the numbers beside it already contain.
    """

    partition: Count
    term: Count
    seen: dict[str, int] = {}


class Credits(Struct, kw_only=True, frozen=True):
    """Room for work. `prefill_backlog_tokens` are prompt tokens that wait inside the engine.

    `parkable_sequences` and the KV tokens that those hold would become free if running work that yields were handed
    back: room for work that does not yield, beside what is free. 0 from a worker that does not park.
    """

    free_sequences: Count
    free_kv_tokens: Count
    prefill_backlog_tokens: Count = 0
    parkable_sequences: Count = 0
    parkable_kv_tokens: Count = 0


class Limits(Struct, kw_only=True, frozen=True):
    """What the engine can hold at most. `max_context_tokens` is prompt and answer together."""

    max_sequences: Count
    max_kv_tokens: Count
    max_batch_tokens: Count
    max_context_tokens: Count


class Finished(Struct, kw_only=True, frozen=True):
    """A request that ended since the heartbeat before: what a latency model learns from.

    `first_token_us` is the part of `service_us` up to the first token; 0 where there was none. `tenant`,
    `latency_class` and `backlog` are those of its dispatch: by them all shards of a model know who is served
    where, and who waits.
    """

    origin: str
    batch_id: str
    prompt_tokens: Count
    completion_tokens: Count
    service_us: Count
    outcome: str
    first_token_us: Count = 0
    tenant: str = ""
    latency_class: str = msgspec.field(name="class", default="")
    backlog: Count = 0


class Steps(Struct, kw_only=True, frozen=True):
    """Engine work since the heartbeat before: sums over its steps."""

    interval_us: Count = 0
    steps: Count = 0
    busy_us: Count = 0
    prefill_tokens: Count = 0
    decode_tokens: Count = 0


class StepSample(Struct, kw_only=True, frozen=True):
    """One step of a continuously batching engine: what it held and how long it took.

    `decoding` sequences got a token each, `kv_tokens` were held by all sequences, `prefill_tokens` were computed.
    """

    duration_us: Count
    decoding: Count
    kv_tokens: Count
    prefill_tokens: Count


class BatchTiming(Struct, kw_only=True, frozen=True):
    """One batch of a run-to-completion engine. A batch without an id was run while the engine warmed up.

    `tokens` are prompt tokens of all its requests together.
    """

    id: str = ""
    size: Annotated[int, Meta(ge=1)]
    tokens: Count
    service_us: Count


class Heartbeat(Struct, kw_only=True, frozen=True, tag_field="type", tag="heartbeat"):
    """The state of a worker. `run` names this start of it, `seq` counts its heartbeats from 1, `at_ms` is its clock.

    `mode` says how the engine batches: continuously, step by step, or each batch until it is complete. `samples` and
    `batches` are what was timed since the heartbeat before; the first ones of a run have the warm-up's. `prefixes` are
    hashes of prompt beginnings that the engine has cached (`topics.prefixes`), the most recently used last.
    """

    worker: str
    run: str
    seq: Count
    at_ms: int
    model: str
    deployment: str
    engine: EngineKind
    state: WorkerState
    running: Count = 0
    waiting: Count = 0
    slots: list[Slot] = []
    credits: Credits
    limits: Limits
    finished: list[Finished] = []
    steps: Steps = Steps()
    mode: EngineMode = "continuous"
    samples: list[StepSample] = []
    batches: list[BatchTiming] = []
    prefixes: list[int] = []
    v: int = msgspec.field(default_factory=wire_version)


class LaneFigures(Struct, kw_only=True, frozen=True):
    """A lane as its processor sees it: for people. Other shards of the model go by `queued` alone, to give way in turn.

    `slack_ms` is how long the request that is due first may still wait until its target is missed;
    negative when it was missed, None where none waits. `batch_size` is the median batch of late, where engines batch
    continuously the median of the sequences that workers run. `size_limit`, `saturation` (the batch that keeps up with
    the load over that limit) and `model_error_ratio` (of predictions, of late) are 0 where nothing was learned yet.
    """

    latency_class: str = msgspec.field(name="class")
    queued: Count = 0
    slack_ms: int | None = None
    arrivals_per_s: float = 0.0
    batch_size: Count = 0
    size_limit: Count = 0
    saturation: float = 0.0
    model_error_ratio: float = 0.0
    is_paused: bool = msgspec.field(name="paused", default=False)
    is_deferring: bool = msgspec.field(name="deferring", default=False)


class ModelFigures(Struct, kw_only=True, frozen=True):
    """How long the engines of a deployment take, as a shard's processor has learned it.

    A batch, or a step, is expected to take `scale` times the sum over `shape_us` of how many microseconds each thing in
    it takes. For engines that run batches to completion these are `batch` (once), `request` and `token` (of a prompt,
    as estimated), for those that batch continuously `step` (once), `sequence`, `kv_token` (held) and `prompt_token`
    (computed). `scale` follows what changes for a while: above 1, engines are slower of late than they used to be.

    Deadlines are tested with `safety` times the expectation, a high quantile of actual over predicted; 1 where none is
    used. `samples` are batches or steps that were learned from, those of warm-ups of batches left out. `error_ratio` is
    the mean of |actual - predicted| / predicted of late.
    """

    deployment: str
    shape_us: dict[str, float]
    scale: float
    safety: float
    samples: Count
    error_ratio: float


class LaneReport(Struct, kw_only=True, frozen=True, tag_field="type", tag="lanes"):
    """The lanes of one shard of a model, from the processor that owns it, about every second.

    It lies among the heartbeats: readers of workers topics tell them apart by `type` and skip what they do not know.
    `at_ms` is broker time as far as the processor knows it. `latency_model` is what predictions of all its lanes are
    made with; null until workers have told how they batch, and from processors that do not tell.
    """

    processor: str
    model: str
    shard: Count
    at_ms: int
    lanes: list[LaneFigures]
    latency_model: ModelFigures | None = None
    v: int = msgspec.field(default_factory=wire_version)


WorkersRecord = Heartbeat | LaneReport
