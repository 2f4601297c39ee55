"""Which offsets of a slot are finished, when they finish in any order, and how that survives in one group commit.

The committed offset is the first unfinished one; which offsets after it are finished already is written into the
commit's metadata, so that a successor runs only what is not. Nothing here talks to a broker.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

MAX_METADATA_CHARS: Final = 3072
"""At this length nothing more is begun on the slot: three quarters of the broker's `offset.metadata.max.bytes`."""
METADATA_LIMIT_CHARS: Final = 4096
"""Longer metadata is refused by brokers, so it is left out: a successor then runs finished work again."""

_VERSION: Final = "m1:"
_PLAIN: Final = b"p"
_DEFLATED: Final = b"d"


class Tracker:
    """Finished offsets of one partition: a contiguous prefix, and a set beyond it.

    Args:
        base: the committed offset, which is the first unfinished one.
        metadata: what the same commit said; unreadable metadata counts as none, so that work is repeated, not lost.
    """

    __slots__ = ("_done", "_high", "_unfinished", "base", "is_dirty", "is_full")

    def __init__(self, base: int, metadata: str = "") -> None:
        self.base = base
        self._high, self._done = decode(base, metadata)
        self._unfinished: set[int] = set()
        self.is_dirty = False
        """Whether `commit` would say something else than it said the last time."""
        self.is_full = False
        """Whether the last commit's metadata was so long that nothing more may be begun until some is finished."""

    def admit(self, offset: int) -> bool:
        """Whether the record at `offset` has to be worked on: False for one that is finished or was admitted before.

        Records come in the order of their offsets, repeated from the committed offset after a change of owners.
        Offsets that were skipped do not exist in the log (compaction, control records) and count as finished.
        """
        if offset < self.base or offset in self._done or offset in self._unfinished:
            return False
        if offset > self._high:
            self._finish(range(self._high, offset))
        self._high = max(self._high, offset + 1)
        self._unfinished.add(offset)
        return True

    def finish(self, offset: int) -> None:
        """The record at `offset`, which was admitted, needs no more work. Idempotent."""
        if offset in self._unfinished:
            self._unfinished.discard(offset)
            self._finish((offset,))

    def commit(self) -> tuple[int, str]:
        """Offset and metadata to commit; metadata that brokers would refuse is left out."""
        self.is_dirty = False
        metadata = encode(self.base, self._done)
        self.is_full = len(metadata) > MAX_METADATA_CHARS
        return self.base, metadata if len(metadata) <= METADATA_LIMIT_CHARS else ""

    def _finish(self, offsets: Iterable[int]) -> None:
        self._done.update(offsets)
        self.is_dirty = True
        while self.base in self._done:
            self._done.remove(self.base)
            self.base += 1
        self._high = max(self._high, self.base)


def encode(base: int, done: set[int]) -> str:
    """Finished offsets beyond `base` as text: run lengths from `base` on, unfinished and finished in turn, as varints,
    deflated where that is shorter, in base64. Empty for none.

    512 requests in flight take about 400 characters, 4,096 about 2,500.
    """
    if not done:
        return ""
    plain = b"".join(map(_varint, _runs(base, sorted(done))))
    deflated = zlib.compress(plain, 6)
    packed = _DEFLATED + deflated if len(deflated) < len(plain) else _PLAIN + plain
    return _VERSION + base64.b64encode(packed).decode("ascii")


def decode(base: int, metadata: str) -> tuple[int, set[int]]:
    """One past the last finished offset, and the finished ones beyond `base`; `(base, {})` where nothing is known."""
    if not metadata.startswith(_VERSION):
        return base, set()
    try:
        lengths = list(_varints(_unpack(base64.b64decode(metadata[len(_VERSION) :], validate=True))))
    except (binascii.Error, zlib.error, ValueError):
        return base, set()
    done: set[int] = set()
    position = base
    for index, length in enumerate(lengths):
        if index % 2:
            done.update(range(position, position + length))
        position += length
    return position, done


def _runs(base: int, done: list[int]) -> Iterator[int]:
    start = done[0]
    end = base
    for offset, following in zip(done, [*done[1:], None], strict=True):
        if following != offset + 1:
            yield start - end
            yield offset + 1 - start
            end = offset + 1
            start = following if following is not None else end


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(raw: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in raw:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")


def _unpack(packed: bytes) -> bytes:
    return zlib.decompress(packed[1:]) if packed[:1] == _DEFLATED else packed[1:]
