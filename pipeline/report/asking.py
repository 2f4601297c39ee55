"""Reads what a report is made of from the account: the named queries `report_*`, one after the other.

They run over an ordinary client of the HTTP interface; a row becomes a record, and a column that is missing or of
another type is an error here and not a hole in the page.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from clickhouse_connect.driver.client import Client

from pipeline.report import facts
from pipeline.report.plots.frame import Span
from sinks.clickhouse.queries import load_queries

T = TypeVar("T")


def gather(client: Client, span: Span, *, plan: str, now_s: float) -> facts.Facts:
    """All facts about the range of `span`. `plan` names the prices: reserved or on_demand.

    Starts of workers are told whole: those that reported between the beginning of the range and `now_s`.

    Raises:
        ClickHouseError: the server refused a query.
    """
    given = {"from": str(span.from_s), "to": str(span.to_s), "step": str(span.step_s), "plan": plan}
    given["hours"] = f"{max(now_s - span.from_s, 1) / 3600:.6f}"

    def rows(name: str, kind: type[T]) -> list[T]:
        return asked(client, f"report_{name}", kind, given)

    (totals,) = rows("totals", facts.Totals)
    return facts.Facts(
        totals=totals,
        latencies=rows("latency", facts.Latency),
        throughput=rows("throughput", facts.Throughput),
        classes=rows("classes", facts.ClassFact),
        tenants=rows("tenants", facts.Tenant),
        versions=rows("versions", facts.Version),
        refusals=rows("refusals", facts.Refusal),
        slowest=rows("slowest", facts.Slow),
        batch_sizes=rows("batch_sizes", facts.BatchSize),
        batch_reasons=rows("batch_reasons", facts.BatchReason),
        queues=rows("queues", facts.Queue),
        engines=rows("engines", facts.Engines),
        gpu_time=rows("gpu_time", facts.GpuTime),
        starts=asked(client, "reconcile_gpu_time", facts.Start, given),
        ends=rows("ends", facts.LaneEnds),
    )


def asked(client: Client, name: str, kind: type[T], given: Mapping[str, str]) -> list[T]:
    """The rows of a named query as records. Of `given` it takes the parameters that the query has.

    Raises:
        ClickHouseError: the server refused it.
    """
    query = load_queries()[name]
    names = {parameter.name for parameter in query.parameters}
    values = query.values({key: value for key, value in given.items() if key in names})
    result = client.query(query.text, parameters=values)
    return [msgspec.convert(row, kind, strict=False) for row in result.named_results()]
