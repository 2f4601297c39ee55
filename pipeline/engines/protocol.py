"""What a worker asks of an engine.

An engine takes requests and pushes outputs: once per step it calls `deliver` with the outputs of all sequences that
advanced, on the event loop of the worker. That costs one call per step, not one task switch per token. Outputs of one
request come in order; the last one has a `finish_reason` or an `error`, and nothing follows it.

Nothing here imports an engine: vLLM is loaded by its own module, when a worker is told to use it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from topics.bodies import Body, Endpoint
from topics.dispatches import BatchPart
from topics.errors import PipelineError
from topics.fleet import BatchTiming, Credits, EngineMode, Limits, StepSample
from topics.responses import FinishReason, Usage


class EngineRequest(Struct, kw_only=True, frozen=True):
    """One sequence to generate.

    Attributes:
        key: names it in outputs and in `abort`; unique in the life of the engine (the attempt id).
        priority: lower goes first inside the engine.
        continued: token ids that are part of the answer already; generation goes on after them. They count towards
            limits and usage and are not delivered again.
        repeats_text: whether the text of the continued tokens is wanted again, without the tokens, with the first
            output: by whom nobody has told it to.
        batch: what it was dispatched with; a run-to-completion engine runs the parts of a batch together, the others
            do not care. None where it is a batch of its own.
    """

    key: str
    endpoint: Endpoint
    body: Body
    priority: int = 0
    continued: tuple[int, ...] = ()
    repeats_text: bool = False
    batch: BatchPart | None = None


class Output(Struct, kw_only=True):
    """What one step added to one sequence.

    `text` may lag behind `token_ids` (incomplete characters, possible stop strings). `usage` and `gpu_ns`, the
    sequence's share of the engine's busy time in nanoseconds times the engine's GPUs, come with the last output, also
    where that is an error.
    """

    key: str
    text: str = ""
    token_ids: list[int] = []
    logprobs: Any = None
    finish_reason: FinishReason | None = None
    error: PipelineError | None = None
    usage: Usage | None = None
    gpu_ns: int = 0

    @property
    def is_last(self) -> bool:
        """Whether nothing follows for this key."""
        return self.finish_reason is not None or self.error is not None


class Load(Struct, kw_only=True, frozen=True):
    """What the engine holds at this moment, and what it has room for."""

    running: int
    waiting: int
    credits: Credits


class StepCounts(Struct, kw_only=True, frozen=True):
    """Work since the call before: sums over steps, and the maxima that were seen.

    `busy_ns` is what was charged to sequences, to the nanosecond; `busy_us` carries what is left of a microsecond over.
    Both are time, not times GPUs.
    """

    steps: int = 0
    busy_us: int = 0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    running_max: int = 0
    waiting_max: int = 0
    kv_usage_ratio: float = 0.0
    busy_ns: int = 0


class Timings(Struct, kw_only=True, frozen=True):
    """Single steps, or batches where the engine runs those to completion: how long each took, and what it held.

    The newest of what has ended since the call before, `topics.fleet.MAX_SAMPLES` at most, in the order of their ends.
    The first ones are those of the warm-up, told in several calls if there are many.
    """

    steps: tuple[StepSample, ...] = ()
    batches: tuple[BatchTiming, ...] = ()


Deliver = Callable[[list[Output]], None]


class Engine(Protocol):
    """One engine replica. All methods are called on the worker's event loop."""

    @property
    def limits(self) -> Limits:
        """What it can hold at most; known after `start`."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs of this replica; 1 where a CPU or a cost model stands in for one."""
        ...

    @property
    def mode(self) -> EngineMode:
        """How it batches. One that runs batches to completion calls `deliver` once a batch, at its end."""
        ...

    @property
    def caches_prefixes(self) -> bool:
        """Whether a prompt is cheaper when one with the same beginning ran before."""
        ...

    async def start(self, deliver: Deliver) -> None:
        """Load the model and warm up; ready for `submit` when it returns.

        Raises:
            EngineDead: it could not be started; the message says why.
        """
        ...

    def submit(self, request: EngineRequest) -> None:
        """Queue a sequence. Never raises for the request's sake: what is wrong with it comes as `Output.error`."""
        ...

    def abort(self, key: str) -> None:
        """End a sequence soon: its last output has a `Cancelled` error and its usage. Unknown keys are ignored."""
        ...

    def load(self) -> Load:
        """Present occupation; cheap, called several times a second."""
        ...

    def take_steps(self) -> StepCounts:
        """Step counts since the call before."""
        ...

    def take_timings(self) -> Timings:
        """Timings since the call before."""
        ...

    def charged(self) -> dict[str, int]:
        """By key, what the sequences that have not ended were charged so far, as `Output.gpu_ns`. After a death too."""
        ...

    async def join(self) -> None:
        """Return when the engine was stopped.

        Raises:
            EngineDead: it died by itself; sequences it had get no further outputs.
        """
        ...

    async def stop(self) -> None:
        """Free everything; sequences it has get no further outputs."""
        ...
