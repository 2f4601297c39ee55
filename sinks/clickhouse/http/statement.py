"""What kind of statement a client sent, which format it names, and where its data begins.

Reads just enough of ClickHouse's SQL to serve it. Nothing here validates a statement: that is the engine's work.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sinks.clickhouse.http.errors import StatementError

SYNTAX_ERROR = 62
UNKNOWN_TYPE_OF_QUERY = 78
INTO_OUTFILE_NOT_ALLOWED = 358

_TOKEN = re.compile(
    rb"""(?P<blank>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>[();])
    |(?P<other>[^A-Za-z_\s'"`();/$\#-]+|.)""",
    re.DOTALL | re.VERBOSE,
)
# ASC and DESC: `ORDER BY format DESC` sorts by a column of that name.
_FORMAT_NAME = re.compile(rb"\s+(?!(?:ASC|DESC)\b)([A-Za-z][A-Za-z0-9]*)", re.IGNORECASE)
_LINE_END = re.compile(rb"[ \t]*;?[ \t]*(?:\r?\n)?")
# SETTINGS may also name a table or a column; the clause goes on with a setting and its value.
_SETTING = re.compile(rb"\s+[A-Za-z_][A-Za-z0-9_]*\s*=")
_GAP = rb"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_FILE_NAME = re.compile(_GAP + rb"(?:INFILE|OUTFILE)" + _GAP + rb"['$]", re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(rb"'((?:[^'\\]|\\.|'')*)'", re.DOTALL)

_READING_WORDS = frozenset({b"SELECT", b"WITH", b"FROM"})
_SHOWING_WORDS = frozenset({b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS", b"CHECK"})
_INLINE_WORDS = frozenset({b"VALUES", b"SELECT", b"WITH", b"FROM"})


class Kind(StrEnum):
    """What a statement does, as far as serving it depends on that."""

    SELECT = "select"
    """Reads rows: may be streamed, may be killed when its client leaves."""
    SHOW = "show"
    """Reads a few rows about the database itself; the engine cannot stream them."""
    INSERT_DATA = "insert_data"
    """An INSERT whose rows follow as bytes in some format."""
    INSERT_INLINE = "insert_inline"
    """An INSERT whose rows are in the statement: VALUES or SELECT."""
    KILL = "kill"
    OTHER = "other"
    """DDL, SET, SYSTEM and everything else that answers with no rows or few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement taken apart.

    `text` is what the engine runs: for `INSERT_DATA` it ends before SETTINGS and FORMAT, and `settings` is the SETTINGS
    clause. `bare` is a SELECT without its FORMAT clause. `format` is None where the statement names none. `data` holds
    the bytes after an INSERT's FORMAT clause.
    """

    kind: Kind
    text: bytes
    bare: bytes
    format: str | None = None
    settings: bytes = b""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    end: int
    kind: str
    text: bytes
    depth: int

    @property
    def word(self) -> bytes:
        return self.text.upper() if self.kind == "word" else b""


def parse(sql: bytes) -> Statement:
    """Take a statement apart. `sql` may go on after what is given here, if that is data of an INSERT.

    Raises:
        StatementError: more than one statement, or a file of this machine to read from or write to (INFILE, OUTFILE):
            ClickHouse's HTTP interface does not take these either.
    """
    tokens = _tokens(sql)
    first = next((token for token in tokens if token.kind == "word"), None)
    word = first.word if first else b""
    if word == b"INSERT":
        return _insert(sql, tokens)
    if word in _READING_WORDS:
        return _reading(sql, tokens, Kind.SELECT)
    if word in _SHOWING_WORDS:
        return _reading(sql, tokens, Kind.SHOW)
    return _reading(sql, tokens, Kind.KILL if word == b"KILL" else Kind.OTHER)


def replace_literals(sql: bytes, replacements: dict[str, str]) -> bytes:
    """Replace string literals that are a key of `replacements` as a whole; neither side may need escaping."""

    def swap(match: re.Match[bytes]) -> bytes:
        replacement = replacements.get(match.group(1).decode(errors="replace"))
        return match.group() if replacement is None else b"'" + replacement.encode() + b"'"

    return _LITERAL.sub(swap, sql)


def literals(sql: bytes) -> frozenset[str]:
    """The string literals of a statement, without their quotes."""
    return frozenset(match.group(1).decode(errors="replace") for match in _LITERAL.finditer(sql))


def _tokens(sql: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup or "other", match.group()
        if kind == "blank":
            continue
        if text == b")":
            depth -= 1
        yield _Token(match.start(), match.end(), kind, text, depth)
        if text == b"(":
            depth += 1


def _insert(sql: bytes, tokens: Iterator[_Token]) -> Statement:
    settings_start: int | None = None
    for token in tokens:
        if token.depth:
            continue
        if token.word == b"FORMAT" and (name := _FORMAT_NAME.match(sql, token.end)):
            line_end = _LINE_END.match(sql, name.end())
            return _insert_data(
                sql[: token.start],
                settings_start,
                format_name=name.group(1).decode(),
                data=sql[line_end.end() if line_end else name.end() :],
            )
        if token.word in _INLINE_WORDS:
            _refuse_file(sql, token)
            text = sql[: _end(sql, tokens)]
            return Statement(kind=Kind.INSERT_INLINE, text=text, bare=text)
        if token.word == b"SETTINGS" and settings_start is None and _SETTING.match(sql, token.end):
            settings_start = token.start
    return _insert_data(sql, settings_start)


def _end(sql: bytes, tokens: Iterator[_Token]) -> int:
    """Where a statement ends that has nothing after it."""
    for token in tokens:
        if token.text == b";" and not token.depth:
            _refuse_second(tokens)
            return token.start
    return len(sql)


def _insert_data(
    head: bytes, settings_start: int | None, *, format_name: str | None = None, data: bytes = b""
) -> Statement:
    text, settings = (head, b"") if settings_start is None else (head[:settings_start], head[settings_start:])
    return Statement(kind=Kind.INSERT_DATA, text=text, bare=text, settings=settings, format=format_name, data=data)


def _reading(sql: bytes, tokens: Iterator[_Token], kind: Kind) -> Statement:
    """A statement without data. FORMAT counts only where nothing but SETTINGS follows it: it may also name a column."""
    clause: re.Match[bytes] | None = None
    clause_start, has_settings = 0, False
    for token in tokens:
        if token.text == b";":
            _refuse_second(tokens)
            sql = sql[: token.start]
            break
        _refuse_file(sql, token)
        if clause and token.start < clause.end():
            continue
        if clause and not has_settings:
            has_settings = token.word == b"SETTINGS"
            clause = clause if has_settings else None
        if token.depth == 0 and token.word == b"FORMAT" and (name := _FORMAT_NAME.match(sql, token.end)):
            clause, clause_start, has_settings = name, token.start, False
        if token.depth == 0 and token.word == b"INSERT" and kind is Kind.SELECT:
            kind = Kind.INSERT_INLINE
    if clause is None:
        return Statement(kind=kind, text=sql, bare=sql)
    bare = sql[:clause_start] + sql[clause.end() :]
    return Statement(kind=kind, text=sql, bare=bare, format=clause.group(1).decode())


def _refuse_file(sql: bytes, token: _Token) -> None:
    if token.word not in (b"FROM", b"INTO") or not _FILE_NAME.match(sql, token.end):
        return
    if token.word == b"FROM":
        raise StatementError(
            "FROM INFILE is not allowed: the file would be the server's; send its rows as the body",
            engine_code=UNKNOWN_TYPE_OF_QUERY,
            name="UNKNOWN_TYPE_OF_QUERY",
        )
    raise StatementError(
        "INTO OUTFILE is not allowed: the file would be the server's; write the answer's body to yours",
        engine_code=INTO_OUTFILE_NOT_ALLOWED,
        name="INTO_OUTFILE_NOT_ALLOWED",
    )


def _refuse_second(rest: Iterator[_Token]) -> None:
    second = next((token for token in rest if token.text != b";"), None)
    if second is not None:
        raise StatementError(
            f"Multi-statements are not allowed: a second one begins at byte {second.start}; send one per request",
            engine_code=SYNTAX_ERROR,
            name="SYNTAX_ERROR",
        )
