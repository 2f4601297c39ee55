"""Blocks written by hand, byte for byte."""

from sinks.clickhouse.http import native


def test_an_empty_block_names_its_columns() -> None:
    assert native.empty_block([("a", "UInt8"), ("b", "String")]) == b"\x02\x00\x01a\x05UInt8\x01b\x06String"


def test_lengths_above_127_take_two_bytes() -> None:
    assert native.empty_block([("x" * 300, "UInt8")]) == b"\x01\x00\xac\x02" + b"x" * 300 + b"\x05UInt8"


def test_the_preflight_tells_revision_0() -> None:
    block = native.preflight_block(display_name="d", version="26.9", timezone="UTC")
    expected = b"\x01\x00\x02\xff\xff\xff\xff\x00" + b"\x04\x01"
    expected += b"\x0ddisplayName()\x06String\x00\x01d"
    expected += b"\x09version()\x06String\x00\x0426.9"
    expected += b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00"
    expected += b"\x0atimezone()\x06String\x00\x03UTC"
    assert block == expected
