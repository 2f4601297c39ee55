"""A cluster at one moment, as small tables and two lines."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.snapshot import ClickHouseStatus, LaneOutlook, LaneStatus, LatencyModel, Snapshot, WorkerStatus
from pipeline.cli.views.table import columns, count, duration, sign, table

ALMOST_FULL: Final = 0.8
"""From this saturation on a lane's batches are drawn as almost as large as they may be."""


def status_view(snapshot: Snapshot) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [lanes_table(snapshot.lanes), "", workers_table(snapshot.workers), ""]
    if snapshot.latency_models:
        parts += [latency_models_table(snapshot.latency_models), ""]
    if snapshot.missing_topics:
        missing = ", ".join(snapshot.missing_topics)
        parts.append(Text.assemble(sign("fail"), f" topics missing: {missing}; ", ("millrace topics create", "bold")))
    parts += [Text.assemble(sign("ok"), " Kafka       ", snapshot.kafka), clickhouse_line(snapshot.clickhouse)]
    parts += [Text.assemble("  metrics     ", url, (f"  {name}", "dim")) for name, url in snapshot.metrics.items()]
    return Group(*parts)


def lanes_table(lanes: Sequence[LaneStatus]) -> Table:
    """The lanes, by model; a model is named once. What only a processor knows is `-` where none has told."""
    view = columns(
        table(),
        left=("model", "class"),
        right=("req/s", "lag", "queued", "slack", "batch"),
    )
    view.add_column("saturation", no_wrap=True)
    columns(view, right=("model error",), last=("state",))
    if not lanes:
        view.caption = "no lanes: the settings have no models"
    for model, group in groupby(lanes, key=lambda lane: lane.model):
        for index, lane in enumerate(group):
            view.add_row(
                Text("" if index else model, style="bold"),
                lane.latency_class,
                _quiet_zero(f"{lane.arrivals_per_s:,.1f}", lane.arrivals_per_s),
                _quiet_zero(count(lane.lag), lane.lag, style="yellow"),
                *_outlook_cells(lane.outlook),
                _lane_state(lane),
            )
    return view


def workers_table(workers: Sequence[WorkerStatus]) -> Table:
    """The workers; one that gets no work because its heartbeat is old is dim."""
    view = columns(
        table(),
        left=("worker", "deployment", "state"),
        right=("running", "waiting", "seqs free", "KV free"),
    )
    columns(view, left=("slots",), right=("silent for",))
    if not workers:
        view.caption = "no workers: none has sent a heartbeat in the last 10 s"
    for worker in workers:
        view.add_row(
            worker.worker,
            worker.deployment,
            _state(worker),
            _quiet_zero(count(worker.running), worker.running),
            _quiet_zero(count(worker.waiting), worker.waiting),
            f"{count(worker.free_sequences)}/{count(worker.max_sequences)}",
            _percent(worker.free_kv_tokens, worker.max_kv_tokens),
            ranges(worker.slots) or "-",
            Text(duration(worker.age_s), style="red" if worker.is_stale else ""),
            style="dim" if worker.is_stale else "",
        )
    return view


def latency_models_table(models: Sequence[LatencyModel]) -> Table:
    """What the engines of each deployment were learned to take, and how sure that is."""
    view = columns(
        columns(table(), left=("deployment",), last=("takes",)), right=("of late", "safety", "seen", "error")
    )
    for model in models:
        view.add_row(
            model.deployment,
            " + ".join(f"{_short_time(us)}/{name.replace('_', ' ')}" for name, us in model.shape_us.items()),
            f"×{model.scale:.2f}",
            Text(f"×{model.safety:.2f}") if model.safety != 1 else Text("-", style="dim"),
            count(model.samples),
            f"{model.error_ratio:.1%}",
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


def gauge(ratio: float, *, cells: int = 6) -> Text:
    """A bar and a percentage; a bar that is full is yellow from 80 % on and red above 100 %."""
    filled = min(round(ratio * cells), cells)
    style = "red" if ratio > 1 else "yellow" if ratio >= ALMOST_FULL else "green"
    return Text.assemble(("━" * filled, style), ("─" * (cells - filled), "dim"), f" {ratio:4.0%}")


def _outlook_cells(outlook: LaneOutlook | None) -> list[Text]:
    nothing = Text("-", style="dim")
    if outlook is None:
        return [nothing] * 5
    limit = count(outlook.size_limit) if outlook.size_limit else "?"
    return [
        _quiet_zero(count(outlook.queued), outlook.queued),
        nothing if outlook.slack_ms is None else _slack(outlook.slack_ms),
        Text(f"{count(outlook.batch_size)}/{limit}") if outlook.batch_size or outlook.size_limit else nothing,
        gauge(outlook.saturation) if outlook.size_limit else nothing,
        Text(f"{outlook.model_error_ratio:.1%}") if outlook.model_error_ratio else nothing,
    ]


def _slack(slack_ms: int) -> Text:
    text = duration(abs(slack_ms) / 1000)
    return Text(f"-{text}", style="red") if slack_ms < 0 else Text(text)


def _lane_state(lane: LaneStatus) -> Text:
    """What stands out about a lane, in one word."""
    if lane.outlook is None:
        return Text("no processor", style="red") if lane.lag else Text("")
    if lane.outlook.is_paused:
        return Text("paused", style="yellow")
    return Text("filling", style="dim") if lane.outlook.is_deferring else Text("")


def _state(worker: WorkerStatus) -> Text:
    if worker.is_stale:
        return Text("stale", style="red")
    return Text(worker.state, style="green" if worker.state == "ready" else "yellow")


def _short_time(us: float) -> str:
    """Two or three digits: `10.2 ms`, `380 µs`, `0.042 µs`; nothing below a nanosecond."""
    if us >= 999.5:
        return f"{us / 1000:.3g} ms"
    if us >= 10:
        return f"{us:.0f} µs"
    return f"{us:.2g} µs" if us >= 0.001 else "0"


def _quiet_zero(text: str, number: float, *, style: str = "") -> Text:
    return Text(text, style=style if number else "dim")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"
