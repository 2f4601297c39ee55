"""When two requests ask for the same: a fingerprint of what the engine is told.

It is taken of the validated body, so that the order of its fields, defaults that are spelled out and fields that nobody
knows make no difference. Objects inside it keep their order: a JSON schema is generated in it.
"""

from hashlib import blake2b
from typing import Final

import msgspec

from topics.bodies import Body

BYTES: Final = 16

_ENCODER = msgspec.json.Encoder()


def is_deterministic(body: Body) -> bool:
    """Whether the engine would give the same answer again: one choice, and greedy or with a seed."""
    return body.n == 1 and (body.seed is not None or body.temperature == 0)


def fingerprint_of(body: Body, *, is_shared: bool) -> bytes:
    """What the answer depends on, `BYTES` long; how it is delivered and to whom (`stream`, `user`) is left out.

    Only what `is_shared` is compared with requests of others. For what is not, a hash that is keyed to the process and
    three times as fast does.
    """
    if body.stream or body.user is not None or body.stream_options is not None:
        body = msgspec.structs.replace(body, stream=False, stream_options=None, user=None)
    canonical = _ENCODER.encode(body)
    if is_shared:
        return blake2b(canonical, digest_size=BYTES).digest()
    return hash(canonical).to_bytes(BYTES, "little", signed=True)
