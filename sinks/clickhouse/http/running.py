"""Which statements run on which handle, and ending them.

The engine gives statements ids of its own and takes none, so a client's query id is translated: the handle's mark is in
the statement's `log_comment`, by which `system.processes` knows it. A statement that sets `log_comment` itself in its
SETTINGS clause cannot be found.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.local import Channel
from sinks.clickhouse.http.statement import Kind, Statement, literals, replace_literals

QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216


class RunningStatements:
    """Client's query ids of now, and the connection that kills them: never one of the pool, which may be used up."""

    def __init__(self, control: Channel) -> None:
        self._control = control
        self._marks: dict[str, str] = {}

    @contextmanager
    def entered(self, query_id: str, mark: str) -> Iterator[None]:
        """Know a statement while it runs.

        Raises:
            StatementError: a statement of the same id is running.
        """
        if query_id in self._marks:
            raise StatementError(
                f"Query with id = {query_id} is already running",
                engine_code=QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
                name="QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
            )
        self._marks[query_id] = mark
        try:
            yield
        finally:
            del self._marks[query_id]

    async def kill(self, mark: str) -> None:
        """Ask the engine to end what runs on a handle; nothing happens if nothing does."""
        await self._control.run(lambda handle: handle.run(f"KILL QUERY WHERE {_of(mark)} ASYNC"))

    async def resolve_kill(self, statement: Statement) -> bytes:
        """The text to run: in a KILL, query ids of clients become those of the engine."""
        if statement.kind is not Kind.KILL:
            return statement.text
        named = literals(statement.text) & self._marks.keys()
        found = {query_id: await self._engine_id(self._marks[query_id]) for query_id in named}
        return replace_literals(
            statement.text, {query_id: engine_id for query_id, engine_id in found.items() if engine_id}
        )

    async def _engine_id(self, mark: str) -> str:
        sql = f"SELECT query_id FROM system.processes WHERE {_of(mark)}"
        result = await self._control.run(lambda handle: handle.query(sql, "TabSeparated"))
        return result.body.decode().strip().partition("\n")[0]


def _of(mark: str) -> str:
    return f"startsWith(Settings['log_comment'], '{mark}')"
