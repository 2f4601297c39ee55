"""Writes the dashboards and alert rules that Grafana provisions: `python -m infra.grafana.build`.

A test holds them current.
"""

import json
from pathlib import Path
from typing import Final

from infra.grafana.alerts import provisioned
from infra.grafana.boards import BOARDS
from infra.grafana.dashboard import dashboard
from infra.grafana.model import Board

FOLDER: Final = Path(__file__).with_name("dashboards")
ALERTS_FILE: Final = Path(__file__).with_name("provisioning") / "alerting" / "millrace.json"


def text(board: Board) -> str:
    """The content of a dashboard's file."""
    return _json(dashboard(board))


def alerts_text() -> str:
    """The content of the alert rules' file."""
    return _json(provisioned())


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the alert rules and every dashboard, and remove what is none any more."""
    ALERTS_FILE.write_text(alerts_text(), encoding="utf-8")
    wanted = {f"{board.uid}.json": text(board) for board in BOARDS}
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
