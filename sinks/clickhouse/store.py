"""What the recorder and the migrations need of a ClickHouse, whether it is embedded or remote, and how it can fail.

The difference that counts is between *refused* (nothing happened, and it will not work next time either) and *away*
(it may have happened; ask the store before trying again).
"""

import re
from typing import Any, Final, Protocol

import pyarrow as pa

from topics.errors import PipelineError, SettingsError, TransportError

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")

INSERT_SETTINGS: Final = {"async_insert": "0"}
"""Inserts are large already, and one insert has to be one part: a server that collects them would mix them."""

DATA_ERRORS: Final = frozenset({6, 27, 33, 53, 69, 70, 117, 131, 321, 349, 407, 469})
"""Codes of errors that lie in the rows: they cannot be parsed, converted, or are out of range. All others are taken for
a passing trouble of the store, because giving up rows is worse than trying again.

Source: ClickHouse, src/Common/ErrorCodes.cpp."""

PASSING_ERRORS: Final = frozenset({159, 160, 202, 209, 210, 236, 241, 242, 243, 252, 319, 394, 439, 999})
"""Codes of a server that is busy, full, starting, stopping or cut off: the same statement may work later."""


class StoreAway(TransportError):
    """The store did not answer, or not with what became of the statement: it may have been executed."""

    code = "store_away"


class StatementRefused(PipelineError):
    """The store understood the statement and will not execute it; nothing has changed."""

    code = "statement_refused"


class InsertRefused(StatementRefused):
    """The rows are at fault, all or some of them; none was inserted."""

    code = "insert_refused"


class Store(Protocol):
    """A ClickHouse. Methods may be called from any task of one event loop; names of tables are `database.table`."""

    async def execute(self, sql: str) -> None:
        """Run a statement for its effect.

        Raises:
            StatementRefused: it is wrong or not allowed.
            StoreAway: unknown whether it ran.
        """

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a SELECT. Raises as `execute`."""

    async def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Insert rows of one partition of the table as one part: all or none.

        Args:
            table: `database.table`.
            rows: columns by name.
            token: names this content; a store that keeps a deduplication log takes the same token once.

        Raises:
            InsertRefused: the rows cannot be stored; none was.
            StoreAway: none or all were stored.
        """

    async def settle(self) -> None:
        """After `StoreAway` of an insert: return when it is decided, so that reading the table tells.

        Raises:
            StoreAway: it cannot be told yet.
        """

    async def close(self) -> None:
        """Give up connections. Idempotent."""


def quoted(identifier: str) -> str:
    """A database's or table's name as it stands in SQL.

    Raises:
        SettingsError: it is no plain identifier.
    """
    if _IDENTIFIER.match(identifier) is None:
        raise SettingsError(f"{identifier!r} cannot name a database: use letters, digits and _, no digit first")
    return f"`{identifier}`"
