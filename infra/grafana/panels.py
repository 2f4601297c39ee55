"""The JSON of one panel: its query as the ClickHouse data source (4.x) stores it, and how its rows are drawn. Pure."""

from typing import Any, Final

from infra.grafana.model import Kind, Panel

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.0.0"
"""Of the form in which queries are stored; without it the data source takes them for those of version 3."""
SOURCE: Final = {"type": PLUGIN, "uid": "${datasource}"}
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
_OUTCOMES: Final = {
    "completed": "green",
    "cancelled": "blue",
    "expired": "yellow",
    "rejected": "orange",
    "failed": "red",
}
_COLUMN_UNITS: Final = {"/_ms$/": "ms", "/_s$/": "s", "/_ratio$/": "percentunit", "/^usd$/": "currencyUSD"}
"""Of columns of tables, by how their names end."""
_COLUMN_WIDTHS: Final = {"ts": 190, "begins": 165, "reported_to": 190, "kind": 150}
_LEAST_COLUMN: Final = 70


def query_json(sql: str, *, number: int, query_type: str) -> dict[str, Any]:
    """A query as the data source stores it."""
    return {
        "refId": "A",
        "editorType": "sql",
        "pluginVersion": PLUGIN_VERSION,
        "queryType": query_type,
        "format": number,
        "rawSql": sql.strip(),
    }


def panel_json(panel: Panel) -> dict[str, Any]:
    """A panel without its number and place."""
    number, query_type = _FORMATS[panel.kind]
    return {
        "title": panel.title,
        "description": panel.about,
        "type": _TYPES[panel.kind],
        "datasource": SOURCE,
        **({"interval": panel.every} if panel.kind == "timeseries" else {}),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
        "targets": [{"datasource": SOURCE, **query_json(panel.sql, number=number, query_type=query_type)}],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    if panel.kind == "trace":
        return {}
    if panel.kind == "table":
        return {"unit": panel.unit, "custom": {"filterable": True, "minWidth": _LEAST_COLUMN}}
    defaults: dict[str, Any] = {"unit": panel.unit, "color": {"mode": "palette-classic"}}
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": _drawing(panel)}
        if _has_name(panel.sql):
            defaults["displayName"] = "${__field.labels.line}"
    if panel.unit == "percentunit":
        defaults |= {"min": 0, "max": 1}
    if panel.limits or panel.at_least:
        defaults |= {"color": {"mode": "thresholds"}, "thresholds": _thresholds(panel)}
    return defaults


def _drawing(panel: Panel) -> dict[str, Any]:
    is_stacked = panel.stacked or panel.counts
    stacking = {"mode": "normal" if is_stacked else "none", "group": "A"}
    common = {"showPoints": "never", "stacking": stacking}
    if panel.counts:
        return {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "barWidthFactor": 1, **common}
    return {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 60 if is_stacked else 6, **common}


def _thresholds(panel: Panel) -> dict[str, Any]:
    least = "red" if panel.at_least else "green"
    steps: list[dict[str, Any]] = [{"color": least, "value": None}]
    steps += [{"color": color, "value": value} for value, color in (*panel.limits, *panel.at_least)]
    return {"mode": "absolute", "steps": steps}


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    overrides = [_override("byName", column, "links", [_link()]) for column in panel.links]
    if panel.kind == "table":
        overrides += [_override("byRegexp", ends, "unit", unit) for ends, unit in _COLUMN_UNITS.items()]
        overrides += [_override("byName", name, "custom.width", width) for name, width in _COLUMN_WIDTHS.items()]
    if "outcome AS line" in panel.sql:
        overrides += [
            _override("byRegexp", f"/{outcome}/", "color", {"mode": "fixed", "fixedColor": color})
            for outcome, color in _OUTCOMES.items()
        ]
    return overrides


def _override(matcher: str, options: str, name: str, value: object) -> dict[str, Any]:
    return {"matcher": {"id": matcher, "options": options}, "properties": [{"id": name, "value": value}]}


def _link() -> dict[str, Any]:
    request = "${__value.raw:percentencode}"
    address = f"/d/millrace-request?var-id={request}&${{__url_time_range}}&var-datasource=${{datasource}}"
    return {"title": "Show this request", "url": address}


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            colors = "value" if panel.limits or panel.at_least else "none"
            return {"reduceOptions": calculation, "colorMode": colors, "graphMode": "none", "textMode": "auto"}
        case "bars":
            return {"orientation": "auto", "showValue": "auto", "legend": {"showLegend": False}}
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
        case "trace":
            return {}


def _has_name(sql: str) -> bool:
    """Whether the statement names its lines: it has a column `line`."""
    return " AS line" in sql
