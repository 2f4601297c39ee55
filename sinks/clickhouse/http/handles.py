"""One connection to the embedded engine, and the state that requests leave on it.

The only module that calls chDB. Everything here blocks (the engine releases the GIL): call it from a thread, one at a
time per handle. Sharing handles among requests is the pool's work.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

from sinks.clickhouse.http.errors import StatementError, from_engine
from sinks.clickhouse.http.limits import connection_string
from sinks.clickhouse.http.requests import ExternalTable
from sinks.clickhouse.http.spool import Spool

ENGINE_VERSION: str = chdb.engine_version
DEFAULT_DATABASE = "default"
UNKNOWN_FORMAT = 73

# chDB gives these names to Python objects; asked for over HTTP they would not be bytes.
_PYTHON_FORMATS = frozenset({"arrowtable", "dataframe", "datastore"})
_FORMAT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole result in its output format, with what the engine counted."""

    body: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Insert:
    """An INSERT whose rows are being gathered."""

    spool: Spool
    sql: bytes
    params: Mapping[str, str]


class Handle:
    """A chDB connection with its database and settings remembered, so that repeating them costs nothing.

    A SET costs 0.14 ms, opening a connection to an open path 0.09 ms; so settings are diffed, and a connection in doubt
    is replaced. In doubt is every connection whose last call failed: chDB 26.9 prepends the output of a query that
    failed during execution to the next result of the same connection.

    Args:
        path: the engine's directory, the same for every handle of a process.
        mark: names the handle in `log_comment`, by which its running statement is found and killed. No quotes in it.
        opening: statements that every new connection runs before anything else: `Limits.opening`.
        keeps_state: the connection outlives failures and keeps its temporary tables: a session's.
    """

    def __init__(self, path: str, *, mark: str, opening: Sequence[str] = (), keeps_state: bool = False) -> None:
        self.mark = mark
        self.is_dirty = False
        self._path = path
        self._opening = opening
        self._folder = Path(path)
        self._keeps_state = keeps_state
        self._database = DEFAULT_DATABASE
        self._settings: dict[str, str] = {}
        self._passing_tables: list[str] = []
        self._connection: Any = None
        self._stream: Any = None
        self._insert: _Insert | None = None
        self._open()

    @property
    def is_open(self) -> bool:
        """Whether a stream or an INSERT is unfinished."""
        return self._stream is not None or self._insert is not None

    def forget(self) -> None:
        """What ran may have left state behind (SET, USE, temporary tables): only a session keeps it."""
        self.is_dirty = self.is_dirty or not self._keeps_state

    def prepare(self, database: str | None, settings: Mapping[str, str]) -> None:
        """Bring the connection into the state that a request asks for.

        Args:
            database: None leaves a session where its last USE put it, and means the default elsewhere.
            settings: all settings of the request; those of earlier requests that are not among them are reset.
        """
        if self.is_dirty:
            self.renew()
        while self._passing_tables:
            self.run(f"DROP TEMPORARY TABLE IF EXISTS `{self._passing_tables.pop()}`")
        if database is None and not self._keeps_state:
            database = DEFAULT_DATABASE
        if database is not None and database != self._database:
            self.run(f"USE `{_escaped(database, '`')}`")
            self._database = database
        wanted = {**settings, "log_comment": f"{self.mark} {settings.get('log_comment', '')}".rstrip()}
        for name in self._settings.keys() - wanted.keys():
            self.run(f"SET {name} = DEFAULT")
            del self._settings[name]
        for name, value in wanted.items():
            if self._settings.get(name) != value:
                self.run(f"SET {name} = '{_escaped(value, chr(39))}'")
                self._settings[name] = value

    def run(self, sql: str | bytes) -> None:
        """Run a statement for its effect."""
        self.query(sql, "TabSeparated")

    def query(self, sql: str | bytes, format_name: str, params: Mapping[str, str] | None = None) -> Result:
        """Run a statement and hold its whole result."""
        _check_format(format_name)
        try:
            result = self._connection.query(sql, format_name, params=dict(params or {}))
        except RuntimeError as error:
            raise self._failed(error) from error
        return Result(
            body=result.bytes() or b"",
            read_rows=result.storage_rows_read() or result.rows_read(),
            read_bytes=result.storage_bytes_read() or result.bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
        )

    def open_stream(self, sql: bytes, format_name: str, params: Mapping[str, str]) -> None:
        """Begin a SELECT whose result is taken block by block; it fails in `next_block`, if it fails."""
        _check_format(format_name)
        try:
            self._stream = self._connection.send_query(sql, format_name, params=dict(params))
        except RuntimeError as error:
            raise self._failed(error) from error

    def next_block(self) -> bytes | None:
        """The next piece of the stream, None at its end."""
        try:
            block = self._stream.fetch()
        except RuntimeError as error:
            raise self._failed(error) from error
        if block is None:
            self._stream = None
            return None
        return bytes(block.bytes())

    def open_insert(
        self, sql: bytes, format_name: str, *, settings: bytes = b"", params: Mapping[str, str] | None = None
    ) -> None:
        """Begin an INSERT whose rows come as bytes; the engine sees nothing of it before `finish_insert`.

        Args:
            sql: ends before SETTINGS and FORMAT.
            format_name: of the rows.
            settings: the SETTINGS clause, if there is one.
            params: fill `{name:Type}` in `sql`.
        """
        _check_format(format_name)
        spool = Spool(self._folder)
        source = f"\nFROM INFILE '{spool.path}' COMPRESSION 'none' ".encode()
        text = sql + source + settings + f"\nFORMAT {format_name}".encode()
        self._insert = _Insert(spool=spool, sql=text, params=params or {})

    def append(self, piece: bytes) -> None:
        """More bytes of the open INSERT."""
        self._opened_insert().spool.append(piece)

    def finish_insert(self) -> Result:
        """Run the open INSERT.

        Not by chDB's streaming insert: 26.9 reports it as done, rows and all, when the table refused them after they
        were parsed (a constraint). A statement that reads a file says so.
        """
        insert, self._insert = self._opened_insert(), None
        try:
            return self.query(insert.sql, "TabSeparated", insert.params)
        finally:
            insert.spool.close()

    def load_table(self, table: ExternalTable) -> None:
        """Make a temporary table with rows, gone when the next request prepares the handle."""
        name = _escaped(table.name, "`")
        self._passing_tables.append(name)
        self.run(f"CREATE OR REPLACE TEMPORARY TABLE `{name}` ({table.structure})")
        self.open_insert(f"INSERT INTO `{name}`".encode(), table.format)
        self.append(table.rows)
        self.finish_insert()

    def abort(self) -> None:
        """End what is open on the connection: a stream is cancelled, an INSERT is not run. Idempotent."""
        stream, insert = self._stream, self._insert
        self._stream = self._insert = None
        if insert is not None:
            insert.spool.close()
        if stream is None:
            return
        try:
            stream.cancel()
        except RuntimeError:
            self.is_dirty = True  # the connection is replaced, which ends what would not be cancelled

    def renew(self) -> None:
        """Make the connection trustworthy again."""
        self.abort()
        if self._keeps_state:
            self._connection.query("SELECT 1", "TabSeparated")  # takes the stale output with it
        else:
            self._connection.close()
            self._open()
        self.is_dirty = False

    def close(self) -> None:
        """Give the connection up; what is open on it is aborted."""
        self.abort()
        self._connection.close()

    def _opened_insert(self) -> _Insert:
        assert self._insert is not None, "open_insert comes first"
        return self._insert

    def _open(self) -> None:
        self._connection = chdb.connect(connection_string(self._path))
        self._database = DEFAULT_DATABASE
        self._settings = {}
        self._passing_tables = []
        self.is_dirty = False
        for sql in self._opening:
            self.run(sql)

    def _failed(self, error: RuntimeError) -> StatementError:
        self.is_dirty = True
        return from_engine(error)


def _check_format(name: str) -> None:
    if name.lower() in _PYTHON_FORMATS or not _FORMAT_NAME.fullmatch(name):
        raise StatementError(f"Unknown format {name}", engine_code=UNKNOWN_FORMAT, name="UNKNOWN_FORMAT")


def _escaped(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, "\\" + quote)
