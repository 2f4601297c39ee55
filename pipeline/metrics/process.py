"""Metrics of a process put together from its settings: whether they are counted at all, of what, and where they are."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaProducer

from pipeline.metrics.rows import RowTally
from pipeline.metrics.slo import Targets
from pipeline.metrics.tally import Tally
from pipeline.runtime.tracing import TraceShipper, Untraced
from pipeline.settings import MetricsSettings, Settings
from topics.measures import Process
from topics.trace_rows import Row


def tally_of(settings: Settings, process: Process) -> Tally | None:
    """Counts of this process; None where nobody could read them."""
    return None if settings.metrics.port is None else Tally(process)


def shipper_of(settings: Settings, producer: AIOKafkaProducer, *, process: str, tally: Tally | None) -> TraceShipper:
    """What ships the trace of a process, and counts it where that is wanted. Not started."""
    kind = TraceShipper if settings.trace.enabled else Untraced
    shipper = kind(producer, process=process, on_delivered=_counting(settings, tally))
    if tally is not None:
        tally.ask("millrace_trace_given_up_total", lambda: {(): float(shipper.given_up)})
    return shipper


async def serve(settings: MetricsSettings, tally: Tally | None, stack: AsyncExitStack) -> None:
    """Serve a tally, if there is one, until the stack is closed.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    if tally is None or settings.port is None:
        return
    from pipeline.metrics.server import MetricsServer

    await stack.enter_async_context(MetricsServer(tally, host=settings.host, port=settings.port))


def _counting(settings: Settings, tally: Tally | None) -> Callable[[Sequence[Row]], None] | None:
    if tally is None:
        return None
    targets = {
        name: Targets(ttft_ms=c.ttft_ms, tpot_ms=c.tpot_ms, e2e_ms=c.e2e_ms) for name, c in settings.classes.items()
    }
    return RowTally(tally, targets)
