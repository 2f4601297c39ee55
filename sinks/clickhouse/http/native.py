"""The few blocks of ClickHouse's Native format that the engine does not write itself.

Source: NativeWriter of ClickHouse: [BlockInfo]? columns, rows, then per column its name, its type and its values. The
engine writes every other block.
"""

from collections.abc import Sequence

PREFLIGHT = b"SELECT displayName(), version(), revision(), timezone()"
"""What clickhouse-go (and with it Grafana) asks before its first statement over HTTP."""
PREFLIGHT_REVISION = 54454
"""From this revision of the client's protocol on a column carries a byte for custom serialization."""

_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # not overflowed, no bucket, end of fields


def empty_block(columns: Sequence[tuple[str, str]]) -> bytes:
    """A block of (name, type) columns without rows: chDB writes no bytes at all where a server writes this."""
    return _varint(len(columns)) + _varint(0) + b"".join(_string(name) + _string(type_) for name, type_ in columns)


def preflight_block(*, display_name: str, version: str, timezone: str) -> bytes:
    """The answer to `PREFLIGHT`, in the revision that clickhouse-go decodes it with.

    The driver decodes this one block at its own revision and every later one at the revision told here: 0, which is
    plain Native as the engine writes it.
    """
    columns = (
        ("displayName()", "String", _string(display_name)),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", bytes(4)),
        ("timezone()", "String", _string(timezone)),
    )
    written = b"".join(_string(name) + _string(type_) + b"\x00" + value for name, type_, value in columns)
    return _BLOCK_INFO + _varint(len(columns)) + _varint(1) + written


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded
