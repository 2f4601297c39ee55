"""What a worker's GPUs are paid for, in nanoseconds times GPUs: loading, busy, idle. Pure; clocks are passed in.

Every nanosecond from the start of the process is in exactly one row, and in one of the three. Busy is what engines have
charged to sequences; a step that has begun may be charged before it has passed, so what does not fit into the time of a
row yet is told in the next. Of a process that is killed, the time after its last row is nobody's: `worker_runs` in the
account names it.
"""

from pipeline.worker.rows import Identity
from topics.trace_rows import GpuRow


class GpuTime:
    """The account of one start of a worker.

    Args:
        identity: whose.
        gpu: type of its GPUs, as prices name it.
        gpus: how many, until an engine says otherwise.
        now_ns: of a monotonic clock, when the process began.
        now_us: the same moment, in microseconds since the epoch.
    """

    def __init__(self, identity: Identity, *, gpu: str, gpus: int, now_ns: int, now_us: int) -> None:
        self._id = identity
        self._gpu = gpu
        self._gpus = gpus
        self._counted_to_ns = now_ns
        self._since_us = now_us
        self._serves = False
        self._loading_ns = 0
        self._serving_ns = 0
        self._charged_ns = 0
        self._settled_ns = 0

    def on_ready(self, *, gpus: int, now_ns: int) -> None:
        """An engine takes sequences."""
        self._count(now_ns)
        self._serves, self._gpus = True, gpus

    def on_dead(self, now_ns: int) -> None:
        """The engine is gone; another one is loaded."""
        self._count(now_ns)
        self._serves = False

    def on_busy(self, busy_ns: int) -> None:
        """Engine time that was charged to sequences, not times GPUs."""
        self._charged_ns += busy_ns * self._gpus

    def on_settled(self, gpu_ns: int) -> None:
        """A row of an attempt tells of so much engine time, times GPUs."""
        self._settled_ns += gpu_ns

    def take(self, *, state: str, now_ns: int, now_us: int) -> GpuRow:
        """The time since the call before, as a row."""
        self._count(now_ns)
        loading_ns, serving_ns, settled_ns = self._loading_ns, self._serving_ns, self._settled_ns
        busy_ns = min(self._charged_ns, serving_ns)
        since_us = self._since_us
        self._charged_ns -= busy_ns
        self._loading_ns = self._serving_ns = self._settled_ns = 0
        self._since_us = max(now_us, since_us)
        return GpuRow(
            ts=self._since_us,
            since_ts=since_us,
            worker=self._id.worker,
            run=self._id.run,
            model=self._id.model,
            deployment=self._id.deployment,
            gpu=self._gpu,
            gpus=self._gpus,
            state=state,
            paid_ns=loading_ns + serving_ns,
            loading_ns=loading_ns,
            busy_ns=busy_ns,
            idle_ns=serving_ns - busy_ns,
            settled_ns=settled_ns,
        )

    def _count(self, now_ns: int) -> None:
        passed_ns = max(now_ns - self._counted_to_ns, 0) * self._gpus
        self._counted_to_ns = max(now_ns, self._counted_to_ns)
        if self._serves:
            self._serving_ns += passed_ns
        else:
            self._loading_ns += passed_ns
