"""Bodies survive compression in any cut."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.http.compression import Deflater, Inflater
from sinks.clickhouse.http.errors import StatementError

ENCODINGS = ["gzip", "deflate", "lz4", "zstd"]


@given(
    encoding=st.sampled_from([*ENCODINGS, ""]),
    pieces=st.lists(st.binary(max_size=300), max_size=5),
    frames=st.integers(1, 3),
    step=st.integers(1, 64),
)
def test_what_was_deflated_is_inflated_whatever_the_cuts(
    encoding: str, pieces: list[bytes], frames: int, step: int
) -> None:
    packed = b""
    for _ in range(frames):
        deflater = Deflater(encoding)
        packed += b"".join(deflater.feed(piece) for piece in pieces) + deflater.finish()
    inflater = Inflater(encoding)
    read = b"".join(inflater.feed(packed[at : at + step]) for at in range(0, len(packed), step))
    inflater.finish()
    assert read == b"".join(pieces) * frames


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_that_ends_too_early_is_an_error(encoding: str) -> None:
    deflater = Deflater(encoding)
    packed = deflater.feed(b"rows " * 1000) + deflater.finish()
    inflater = Inflater(encoding)
    inflater.feed(packed[:-3])
    with pytest.raises(StatementError, match="ends within a frame"):
        inflater.finish()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bytes_of_another_kind_are_an_error(encoding: str) -> None:
    with pytest.raises(StatementError, match=f"Cannot decompress the {encoding} body"):
        Inflater(encoding).feed(b"SELECT 1 -- this is no frame of anything")


def test_an_unknown_encoding_names_the_known_ones() -> None:
    with pytest.raises(StatementError, match="use one of gzip, deflate, lz4, zstd"):
        Inflater("br")


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", None),
        ("br", None),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0, zstd", "zstd"),
        ("LZ4,gzip", "lz4"),
        ("identity", None),
    ],
)
def test_the_first_known_encoding_is_taken(accept: str, encoding: str | None) -> None:
    assert Deflater(accept).encoding == encoding


def test_gzip_is_gzip_to_others() -> None:
    deflater = Deflater("gzip")
    assert gzip.decompress(deflater.feed(b"a") + deflater.feed(b"b") + deflater.finish()) == b"ab"
