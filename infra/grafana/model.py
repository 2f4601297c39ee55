"""Dashboards, their variables and panels, and the JSON that Grafana provisions them from. Pure.

A panel is a title, a kind, one statement over the account and a unit. What its kind needs of the rows:

- timeseries: `time` first and ascending, at most one text column (the name of the line), numbers
- stat: one row of numbers; bars: a text column, then numbers; table: anything; trace: the columns of Grafana's spans
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["timeseries", "stat", "bars", "table", "trace"]

PLUGIN: Final = "grafana-clickhouse-datasource"
COLUMNS: Final = 24
SCHEMA_VERSION: Final = 39
_SOURCE: Final = {"type": PLUGIN, "uid": "${datasource}"}
_TYPES: Final[dict[Kind, str]] = {
    "timeseries": "timeseries",
    "stat": "stat",
    "bars": "barchart",
    "table": "table",
    "trace": "traces",
}
_FORMATS: Final[dict[Kind, tuple[int, str]]] = {
    "timeseries": (0, "timeseries"),
    "stat": (1, "table"),
    "bars": (1, "table"),
    "table": (1, "table"),
    "trace": (3, "traces"),
}
"""The plugin's output format, and what its editor calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        unit: Grafana's name of a unit: ms, s, reqps, percentunit, short, currencyUSD …
        about: shown as the panel's description: what it means and what to do when it moves.
        stacked: areas on each other instead of lines.
        links: columns of a table whose values are ids of requests and lead to the page of one request.
        width: of 24.
        height: in units of 30 pixels.
    """

    title: str
    kind: Kind
    sql: str
    about: str
    unit: str = "short"
    stacked: bool = False
    links: tuple[str, ...] = ()
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of a dashboard: by a statement, of fixed words (`choices`), or free text without either."""

    name: str
    label: str
    sql: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard. `uid` is its address in Grafana and the name of its file."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()
    since: str = "now-1h"
    refresh: str = "30s"


MODEL: Final = Variable(
    name="model", label="Model", sql="SELECT DISTINCT model FROM requests WHERE $__timeFilter(minute) ORDER BY model"
)
PLAN: Final = Variable(name="plan", label="Prices", choices=("on_demand", "reserved"))


def dashboard(board: Board) -> dict[str, Any]:
    """Grafana's JSON of a dashboard. Panels flow from left to right and from top to bottom."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["millrace"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": board.since, "to": "now"},
        "refresh": board.refresh,
        "timezone": "",
        "annotations": {"list": []},
        "links": [
            {
                "title": "Millrace",
                "type": "dashboards",
                "tags": ["millrace"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_source_variable(), *map(_variable, board.variables)]},
        "panels": _placed(board.panels),
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    placed, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row = 0, y + row, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        placed.append({"id": number, "gridPos": place, **_panel(panel)})
        x, row = x + panel.width, max(row, panel.height)
    return placed


def _panel(panel: Panel) -> dict[str, Any]:
    number, query_type = _FORMATS[panel.kind]
    target = {
        "refId": "A",
        "datasource": _SOURCE,
        "editorType": "sql",
        "queryType": query_type,
        "format": number,
        "rawSql": panel.sql.strip(),
    }
    return {
        "title": panel.title,
        "description": panel.about,
        "type": _TYPES[panel.kind],
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [_link(column) for column in panel.links]},
        "options": _options(panel),
        "targets": [target],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    if panel.kind == "trace":
        return {}
    defaults: dict[str, Any] = {"unit": panel.unit, "color": {"mode": "palette-classic"}}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        fill = 60 if panel.stacked else 6
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": fill,
            "showPoints": "never",
            "stacking": stacking,
        }
        if _has_name(panel.sql):
            defaults["displayName"] = "${__field.labels.line}"
    if panel.unit == "percentunit":
        defaults |= {"min": 0, "max": 1}
    if panel.kind == "table":
        defaults = {"unit": panel.unit, "custom": {"filterable": True}}
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {"reduceOptions": calculation, "colorMode": "none", "graphMode": "none", "textMode": "auto"}
        case "bars":
            return {"orientation": "auto", "showValue": "auto", "legend": {"showLegend": False}}
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
        case "trace":
            return {}


def _link(column: str) -> dict[str, Any]:
    address = "/d/millrace-request?var-id=${__value.raw}&${__url_time_range}&var-datasource=${datasource}"
    link = {"title": "Show this request", "url": address}
    return {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "links", "value": [link]}]}


def _has_name(sql: str) -> bool:
    """Whether the statement names its lines: it has a column `line`."""
    return " AS line" in sql


def _source_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "ClickHouse",
        "type": "datasource",
        "query": PLUGIN,
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
    }


def _variable(variable: Variable) -> dict[str, Any]:
    common = {"name": variable.name, "label": variable.label, "hide": 0}
    if variable.choices:
        options = [{"text": choice, "value": choice, "selected": i == 0} for i, choice in enumerate(variable.choices)]
        return {
            **common,
            "type": "custom",
            "query": ",".join(variable.choices),
            "current": options[0],
            "options": options,
        }
    if not variable.sql:
        return {**common, "type": "textbox", "query": "", "current": {"text": "", "value": ""}}
    return {
        **common,
        "type": "query",
        "datasource": _SOURCE,
        "definition": variable.sql,
        "query": {"refId": "variable", "editorType": "sql", "queryType": "table", "format": 1, "rawSql": variable.sql},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }
