"""A cluster at one moment, as two small tables and two lines."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.snapshot import ClickHouseStatus, LaneStatus, Snapshot, WorkerStatus
from pipeline.cli.views.table import columns, count, duration, sign, table


def status_view(snapshot: Snapshot) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [lanes_table(snapshot.lanes), "", workers_table(snapshot.workers), ""]
    if snapshot.missing_topics:
        missing = ", ".join(snapshot.missing_topics)
        parts.append(Text.assemble(sign("fail"), f" topics missing: {missing}; ", ("millrace topics create", "bold")))
    parts += [Text.assemble(sign("ok"), " Kafka       ", snapshot.kafka), clickhouse_line(snapshot.clickhouse)]
    return Group(*parts)


def lanes_table(lanes: Sequence[LaneStatus]) -> Table:
    """The lanes, by model; a model is named once."""
    view = columns(table(), left=("model", "class"), right=("arrivals/s", "lag", "arrived"))
    if not lanes:
        view.caption = "no lanes: the settings have no models"
    for model, group in groupby(lanes, key=lambda lane: lane.model):
        for index, lane in enumerate(group):
            view.add_row(
                Text("" if index else model, style="bold"),
                lane.latency_class,
                _quiet_zero(f"{lane.arrivals_per_s:,.1f}", lane.arrivals_per_s),
                _quiet_zero(count(lane.lag), lane.lag, style="yellow"),
                _quiet_zero(count(lane.arrived), lane.arrived),
            )
    return view


def workers_table(workers: Sequence[WorkerStatus]) -> Table:
    """The workers; one that gets no work because its heartbeat is old is dim."""
    view = columns(
        table(),
        left=("worker", "deployment", "engine", "state", "slots"),
        right=("running", "waiting", "seqs free", "KV free", "heard"),
    )
    if not workers:
        view.caption = "no workers: none has sent a heartbeat in the last 10 s"
    for worker in workers:
        view.add_row(
            worker.worker,
            worker.deployment,
            worker.engine,
            _state(worker),
            ranges(worker.slots) or "-",
            _quiet_zero(count(worker.running), worker.running),
            _quiet_zero(count(worker.waiting), worker.waiting),
            f"{count(worker.free_sequences)}/{count(worker.max_sequences)}",
            _percent(worker.free_kv_tokens, worker.max_kv_tokens),
            duration(worker.age_s),
            style="dim" if worker.is_stale else "",
        )
    return view


def clickhouse_line(clickhouse: ClickHouseStatus) -> Text:
    """Whether the account can be asked, and how far it is behind."""
    if clickhouse.version is None:
        return Text.assemble(sign("fail"), " ClickHouse  ", clickhouse.url, ("  ", ""), (clickhouse.problem, "red"))
    lag = clickhouse.recorder_lag
    behind = (
        ""
        if lag is None
        else "recorder has caught up"
        if lag == 0
        else f"recorder is {count(lag)} message{'' if lag == 1 else 's'} behind"
    )
    return Text.assemble(
        sign("ok"), " ClickHouse  ", clickhouse.url, (f"  {clickhouse.version}", "dim"), (f"  {behind}", "dim")
    )


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers with runs drawn together: `0-3 7`."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _state(worker: WorkerStatus) -> Text:
    if worker.is_stale:
        return Text("stale", style="red")
    return Text(worker.state, style="green" if worker.state == "ready" else "yellow")


def _quiet_zero(text: str, number: float, *, style: str = "") -> Text:
    return Text(text, style=style if number else "dim")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"
