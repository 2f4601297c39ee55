"""Writes the dashboards that Grafana provisions: `python -m infra.grafana.build`. A test holds them current."""

import json
from pathlib import Path
from typing import Final

from infra.grafana.boards import BOARDS
from infra.grafana.model import Board, dashboard

FOLDER: Final = Path(__file__).with_name("dashboards")


def text(board: Board) -> str:
    """The content of a dashboard's file."""
    return json.dumps(dashboard(board), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard and remove what is none any more."""
    wanted = {f"{board.uid}.json": text(board) for board in BOARDS}
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
