"""What the dashboards show: one module each. Statements use the macros of the ClickHouse data source.

Ranges of time are put on `produced_ts`, which reaches the table below the views; a line is named by the column `line`.
"""

from typing import Final

from infra.grafana.boards import cost, lanes, overview, request, workers
from infra.grafana.model import Board

BOARDS: Final[tuple[Board, ...]] = (overview.BOARD, lanes.BOARD, workers.BOARD, cost.BOARD, request.BOARD)
