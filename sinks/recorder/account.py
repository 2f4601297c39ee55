"""The tables as the recorder sees them: its marks and positions, and inserting blocks."""

from typing import Final

import pyarrow as pa

from sinks.clickhouse.store import Store, quoted
from sinks.recorder.blocks import Block
from sinks.recorder.marks import Mark, Marks, Stretch
from topics.trace_rows import TABLES

_MARKS: Final = (
    "SELECT kp, toUInt32(day), newest, toUnixTimestamp64Milli(at) FROM ("
    "SELECT kp, toDate(log_ts) AS day, max(ko) AS newest, max(log_ts) AS at FROM {table} "
    "GROUP BY kp, toDate(log_ts))"
)
"""Answered from the projection `hwm`: its expressions have to be these."""


class Account:
    """Marks, positions and inserts of one database. Raises what the store raises."""

    def __init__(self, store: Store, database: str) -> None:
        self._store = store
        self._database = quoted(database)
        self.marks = Marks()
        self.positions: dict[int, int] = {}

    async def load(self) -> None:
        """Read the marks of all tables and the positions."""
        for table in TABLES:
            await self._load_marks(table)
        rows = await self._store.query(f"SELECT kp, max(next_ko) FROM {self._name('recorder_positions')} GROUP BY kp")
        self.positions = {int(kp): int(next_ko) for kp, next_ko in rows}

    async def insert(self, block: Block, rows: pa.Table) -> None:
        """Insert a block and advance its marks."""
        await self._store.insert(self._name(block.table), rows, token=block.token)
        block.advance(self.marks)

    async def only_new(self, block: Block) -> Block:
        """What of a block is not in its table, asked of the table itself."""
        await self._store.settle()
        await self._load_marks(block.table)
        return block.only_new(self.marks)

    async def note(self, positions: dict[int, int]) -> None:
        """All tables are complete below these offsets. Nothing is written where nothing has changed."""
        moved = {kp: ko for kp, ko in positions.items() if self.positions.get(kp) != ko}
        if not moved:
            return
        values = ", ".join(f"({kp}, {ko})" for kp, ko in sorted(moved.items()))
        await self._store.execute(f"INSERT INTO {self._name('recorder_positions')} (kp, next_ko) VALUES {values}")
        self.positions.update(moved)

    async def _load_marks(self, table: str) -> None:
        rows = await self._store.query(_MARKS.format(table=self._name(table)))
        self.marks.replace(
            table, ((Stretch(table, int(day), int(kp)), Mark(int(ko), int(at))) for kp, day, ko, at in rows)
        )

    def _name(self, table: str) -> str:
        return f"{self._database}.`{table}`"
