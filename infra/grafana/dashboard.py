"""The JSON that Grafana provisions a dashboard from. Pure."""

from typing import Any, Final

from infra.grafana.model import Board, Panel, Variable
from infra.grafana.panels import PLUGIN, SOURCE, panel_json

COLUMNS: Final = 24
SCHEMA_VERSION: Final = 39


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
        placed.append({"id": number, "gridPos": place, **panel_json(panel)})
        x, row = x + panel.width, max(row, panel.height)
    return placed


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
        "datasource": SOURCE,
        "definition": variable.sql,
        "query": {"refId": "variable", "editorType": "sql", "queryType": "sql", "format": 1, "rawSql": variable.sql},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }
