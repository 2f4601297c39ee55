"""A record that is to be written, and the dead letter that takes its place where it is too large. Pure."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from processors.events import Address
from topics import names
from topics.errors import BodyTooLarge
from topics.headers import DLQ_PREFIX, Headers, dead_letter

KEPT_BYTES: Final = 65_536
"""How much of the value, of the key and of the headers a dead letter keeps that would be too large as a whole."""
KEPT_REASON_BYTES: Final = 4_096
"""How much of each header that says why it is there."""
TRUNCATED: Final = DLQ_PREFIX + "truncated"
"""Header of a dead letter that was shortened: how many bytes its value had."""


class Output(Struct, kw_only=True, frozen=True):
    """A record to be written. `settles` is the input that it answers for, if it is the last output of that input."""

    topic: str
    value: bytes | None
    key: bytes | None
    partition: int | None = None
    headers: Headers = []
    settles: Address | None = None


def shortened(output: Output) -> Output:
    """A dead letter that surely fits, in place of an output that is too large. It settles what the output settles.

    Of a dead letter it keeps why it is there; of any other output it tells the address of the input, and of one that
    settles nothing where it was to be written, at offset -1.
    """
    headers = output.headers
    if output.topic != names.DEAD_LETTERS:
        nowhere = Address(output.topic, -1 if output.partition is None else output.partition, -1)
        topic, partition, offset = output.settles or nowhere
        message = f"the record for {output.topic} is too large to be sent; shorten the request"
        headers = dead_letter(
            headers,
            topic=topic,
            partition=partition,
            offset=offset,
            stage="processor",
            code=BodyTooLarge.code,
            message=message,
        )
    value = output.value or b""
    return replace(
        output,
        topic=names.DEAD_LETTERS,
        partition=None,
        key=output.key[:KEPT_BYTES] if output.key is not None else None,
        value=value[:KEPT_BYTES],
        headers=[*_fitting(headers), (TRUNCATED, str(len(value)).encode())],
    )


def _fitting(headers: Headers) -> Headers:
    """The reasons, which come last, and as many of the headers before them as fit."""
    kept: Headers = []
    room = KEPT_BYTES
    for name, value in reversed(headers):
        cut = (value or b"")[:KEPT_REASON_BYTES] if name.startswith(DLQ_PREFIX) else value or b""
        room -= len(name.encode()) + len(cut)
        if room >= 0:
            kept.append((name, cut))
    return kept[::-1]
