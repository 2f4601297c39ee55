"""The engine's time and work, step by step: pure arithmetic on nanoseconds that are passed in.

Busy time is the time between the outputs of two steps, or from the first request of an idle engine to its first output.
It is split over the sequences that ran in the step by what each of them cost (`pipeline.engines.attribution`), with the
costs that were learnt from this engine's steps once there are some: the shares add up to the engine's busy time.
"""

from collections.abc import Iterable, Sequence

from pipeline.engines.attribution import TYPICAL, shares
from pipeline.engines.fitting import StepFit
from pipeline.engines.protocol import StepCounts
from pipeline.engines.vllm.sequences import Active


class BusyClock:
    """Attributes busy time to sequences.

    Args:
        gpus: GPUs of the engine; each counts.
    """

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._since_ns: int | None = None
        self._fit = StepFit()

    def begin(self, now_ns: int) -> None:
        """The engine has work; ignored while it is busy."""
        if self._since_ns is None:
            self._since_ns = now_ns

    def charge(self, now_ns: int, sharers: Sequence[Active], *, prefill_tokens: int = 0) -> int:
        """Split the time since the last charge over `sharers`, who are added to; returns it in nanoseconds.

        `prefill_tokens` of their prompts were computed meanwhile. Without sharers nothing is charged and the time is
        the next ones'.
        """
        if self._since_ns is None or not sharers:
            return 0
        elapsed_ns = max(0, now_ns - self._since_ns)
        read = prompts_read(sharers, prefill_tokens)
        held = [sequence.kv_tokens for sequence in sharers]
        parts = shares(elapsed_ns * self._gpus, read, held, self._fit.model or TYPICAL)
        for sequence, part in zip(sharers, parts, strict=True):
            sequence.gpu_ns += part
        self._fit.add(elapsed_ns, prefill_tokens=prefill_tokens, sequences=len(sharers), kv_tokens=sum(held))
        self._since_ns += elapsed_ns
        return elapsed_ns

    def rest(self) -> None:
        """The engine has no work."""
        self._since_ns = None


def prompts_read(sharers: Sequence[Active], prefill_tokens: int) -> list[int]:
    """Of each sequence, the prompt tokens that a step computed, where only their sum is known; remembers them.

    Prompts are read in order, each as far as the sum goes. One that has its first token was read to its end.
    """
    found = []
    for sequence in sharers:
        unread = max(sequence.prefill_tokens - sequence.cached_tokens - sequence.read_tokens, 0)
        read = min(unread, prefill_tokens)
        prefill_tokens -= read
        sequence.read_tokens += unread if sequence.produced else read
        found.append(read)
    return found


def sharers(advanced: Sequence[Active], others: Iterable[Active], still_running: int) -> list[Active]:
    """The sequences that ran in a step: those that advanced, and those whose prompt is worked on in pieces.

    The engine tells how many sequences it runs after the step, not which. A sequence without output is running if it
    is among the first in the engine's order (priority, then arrival) that fill up that number.

    Args:
        advanced: sequences with output in this step, the finished ones included.
        others: every other sequence that the engine has.
        still_running: sequences in the engine's running batch after the step.
    """
    unfinished = sum(not sequence.finished for sequence in advanced)
    in_order = sorted(others, key=lambda sequence: (not sequence.produced, sequence.priority, sequence.arrival))
    return [*advanced, *in_order[: max(0, still_running - unfinished)]]


class StepTotals:
    """Sums over steps since they were taken last."""

    def __init__(self) -> None:
        self._counts = StepCounts()
        self._busy_ns = 0
        self._charged_ns = 0

    def add(
        self,
        *,
        busy_ns: int,
        prefill_tokens: int,
        decode_tokens: int,
        running: int,
        waiting: int,
        kv_usage_ratio: float,
    ) -> None:
        """Count one step."""
        counts = self._counts
        self.add_busy(busy_ns)
        self._counts = StepCounts(
            steps=counts.steps + 1,
            prefill_tokens=counts.prefill_tokens + prefill_tokens,
            decode_tokens=counts.decode_tokens + decode_tokens,
            running_max=max(counts.running_max, running),
            waiting_max=max(counts.waiting_max, waiting),
            kv_usage_ratio=kv_usage_ratio,
        )

    def add_busy(self, busy_ns: int) -> None:
        """Count busy time that ended in no step: that of a sequence that was aborted."""
        self._busy_ns += busy_ns
        self._charged_ns += busy_ns

    def take(self) -> StepCounts:
        """The sums, which begin anew. The part of a microsecond that is left over is carried on."""
        busy_us, self._busy_ns = divmod(self._busy_ns, 1000)
        charged_ns, self._charged_ns = self._charged_ns, 0
        taken = self._counts
        self._counts = StepCounts(kv_usage_ratio=taken.kv_usage_ratio)
        return StepCounts(
            steps=taken.steps,
            busy_us=busy_us,
            prefill_tokens=taken.prefill_tokens,
            decode_tokens=taken.decode_tokens,
            running_max=taken.running_max,
            waiting_max=taken.waiting_max,
            kv_usage_ratio=taken.kv_usage_ratio,
            busy_ns=charged_ns,
        )
