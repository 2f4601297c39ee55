"""The committed dashboards are what the source gives, and fit together."""

import json

import pytest

from infra.grafana.boards import BOARDS
from infra.grafana.build import ALERTS_FILE, FOLDER, alerts_text, text
from infra.grafana.dashboard import COLUMNS, dashboard
from infra.grafana.model import Board


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_committed_file_is_current(board: Board) -> None:
    assert (FOLDER / f"{board.uid}.json").read_text() == text(board), "run python -m infra.grafana.build"


def test_the_committed_alert_rules_are_current() -> None:
    assert ALERTS_FILE.read_text() == alerts_text(), "run python -m infra.grafana.build"


def test_there_are_no_other_files() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {board.uid for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_do_not_overlap_and_stay_inside(board: Board) -> None:
    taken: list[tuple[int, int]] = []
    for panel in dashboard(board)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        taken += [(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])]

    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_variables_that_statements_use_exist_and_those_that_exist_are_used(board: Board) -> None:
    wanted = {variable.name for variable in board.variables}
    statements = [panel.sql for panel in board.panels]

    assert {name for name in wanted if any(f"${{{name}:singlequote}}" in sql for sql in statements)} == wanted
    assert all("${" not in _without(sql, wanted) for sql in statements)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_says_what_it_means_and_reads_from_the_chosen_source(board: Board) -> None:
    loaded = json.loads(text(board))

    assert all(len(panel["description"]) > 10 for panel in loaded["panels"])
    assert {panel["targets"][0]["datasource"]["uid"] for panel in loaded["panels"]} == {"${datasource}"}


def _without(sql: str, names: set[str]) -> str:
    for name in names:
        sql = sql.replace(f"${{{name}:singlequote}}", "")
    return sql
