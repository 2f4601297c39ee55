"""Bodies of HTTP requests and responses, inflated and deflated piece by piece.

Sans-I/O: `feed(bytes) -> bytes`, then `finish()`. A body may be several frames in a row (clickhouse-connect sends one
zstd frame per block). ClickHouse's own block compression (`compress=1`, `decompress=1`) is none of these.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame

from sinks.clickhouse.http.errors import StatementError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271

_GZIP_WINDOW_BITS = 31
_FAST = 1


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, piece: bytes, /) -> bytes: ...


class _Compressor(Protocol):
    def compress(self, piece: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4Compressor:
    """lz4 wants its frame begun by hand."""

    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor()
        self._has_begun = False

    def compress(self, piece: bytes, /) -> bytes:
        return self._begin() + bytes(self._inner.compress(piece))

    def flush(self) -> bytes:
        return self._begin() + bytes(self._inner.flush())

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return bytes(self._inner.begin())


def _gzip_decompressor() -> _Decompressor:
    return zlib.decompressobj(_GZIP_WINDOW_BITS)


def _deflate_decompressor() -> _Decompressor:
    return zlib.decompressobj()


def _lz4_decompressor() -> _Decompressor:
    made: _Decompressor = lz4.frame.LZ4FrameDecompressor()
    return made


def _zstd_decompressor() -> _Decompressor:
    made: _Decompressor = zstd.ZstdDecompressor()
    return made


def _zstd_compressor() -> _Compressor:
    made: _Compressor = zstd.ZstdCompressor(level=_FAST)
    return made


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _gzip_decompressor,
    "deflate": _deflate_decompressor,
    "lz4": _lz4_decompressor,
    "zstd": _zstd_decompressor,
}
_COMPRESSORS: dict[str, Callable[[], _Compressor]] = {
    "gzip": lambda: zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP_WINDOW_BITS),
    "deflate": lambda: zlib.compressobj(_FAST),
    "lz4": _Lz4Compressor,
    "zstd": _zstd_compressor,
}


class Inflater:
    """Undoes a request's Content-Encoding.

    Args:
        encoding: `gzip`, `deflate`, `lz4` or `zstd`; empty or `identity` passes the bytes through.

    Raises:
        StatementError: the encoding is none of these.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower()
        self._make: Callable[[], _Decompressor] | None = None
        self._frame: _Decompressor | None = None
        if self._encoding in ("", "identity"):
            return
        if self._encoding not in _DECOMPRESSORS:
            raise StatementError(
                f"Unknown Content-Encoding {self._encoding!r}; use one of {', '.join(_DECOMPRESSORS)}",
                engine_code=UNKNOWN_COMPRESSION_METHOD,
                name="UNKNOWN_COMPRESSION_METHOD",
            )
        self._make = _DECOMPRESSORS[self._encoding]

    def feed(self, piece: bytes) -> bytes:
        """Inflate what can be inflated so far.

        Raises:
            StatementError: the bytes are not of this encoding.
        """
        if self._make is None:
            return piece
        out = []
        try:
            while piece:
                if self._frame is None or self._frame.eof:
                    self._frame = self._make()
                out.append(self._frame.decompress(piece))
                piece = (self._frame.unused_data or b"") if self._frame.eof else b""
        except (zlib.error, RuntimeError, EOFError, zstd.ZstdError) as error:
            raise self._broken(str(error)) from error
        return b"".join(out)

    def finish(self) -> None:
        """Say that the body is over.

        Raises:
            StatementError: it ended within a frame; half an INSERT must not be committed.
        """
        if self._frame is not None and not self._frame.eof:
            raise self._broken("the body ends within a frame")

    def _broken(self, why: str) -> StatementError:
        return StatementError(
            f"Cannot decompress the {self._encoding} body: {why}",
            engine_code=CANNOT_DECOMPRESS,
            name="CANNOT_DECOMPRESS",
        )


class Deflater:
    """Compresses a response in the first known encoding of Accept-Encoding; `encoding` names it, or is None."""

    def __init__(self, accept_encoding: str) -> None:
        self.encoding = next((name for name in _accepted(accept_encoding) if name in _COMPRESSORS), None)
        self._inner = _COMPRESSORS[self.encoding]() if self.encoding else None

    def feed(self, piece: bytes) -> bytes:
        return self._inner.compress(piece) if self._inner else piece

    def finish(self) -> bytes:
        return self._inner.flush() if self._inner else b""


def _accepted(header: str) -> list[str]:
    offers = [offer.replace(" ", "").lower().partition(";") for offer in header.split(",")]
    return [name for name, _, quality in offers if quality not in ("q=0", "q=0.0")]
