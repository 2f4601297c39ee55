"""Beginnings of prompts as numbers, so that a processor can tell which worker has computed one already.

Both sides hash the text of a body, not its tokens: the processor has no tokenizer. Equal hashes mean equal text, and so
equal tokens of all but the last few characters of it. A prompt is hashed block by block, each hash containing all
blocks before it: two prompts share as many blocks as their hashes agree in from the first one on.
"""

from collections.abc import Container, Iterator
from hashlib import blake2b
from typing import Final

import msgspec

from topics.bodies import Body, ChatBody, Message

PREFIX_CHARS: Final = 512
"""Characters of a block, about 128 tokens: shorter beginnings are computed again faster than they are looked for."""
MAX_BLOCKS: Final = 16
"""Most hashes of a prompt: what follows on `MAX_BLOCKS * PREFIX_CHARS` characters is not told apart."""

_BLOCK_TOKENS: Final = PREFIX_CHARS // 4
"""Tokens that have so many characters, as `topics.bodies` counts them."""


def prefix_hashes(body: Body) -> tuple[int, ...]:
    """Hashes of the prompt's beginnings, the shortest first: whole numbers below 2**63.

    The same on every machine and in every process. A prompt that is shorter than a block has none.
    """
    if body.prompt_chars < PREFIX_CHARS:
        return ()
    digest = blake2b(digest_size=8)
    hashes = []
    for block in _blocks(body):
        digest.update(block)
        hashes.append(int.from_bytes(digest.digest(), "little") >> 1)
    return tuple(hashes)


def cached_tokens(prefixes: tuple[int, ...], cached: Container[int]) -> int:
    """About how many prompt tokens need not be computed where the hashes `cached` are known: whole blocks only.

    A longer beginning contains the shorter ones, so that the longest known one counts.
    """
    for blocks in range(len(prefixes), 0, -1):
        if prefixes[blocks - 1] in cached:
            return blocks * _BLOCK_TOKENS
    return 0


def _blocks(body: Body) -> Iterator[bytes]:
    """Whole blocks from the prompt's beginning on, `MAX_BLOCKS` at most."""
    if not isinstance(body, ChatBody) and not isinstance(body.prompt, str):
        for start in range(0, min(len(body.prompt), MAX_BLOCKS * _BLOCK_TOKENS) - _BLOCK_TOKENS + 1, _BLOCK_TOKENS):
            yield msgspec.json.encode(body.prompt[start : start + _BLOCK_TOKENS])
        return
    text = _chat_text(body) if isinstance(body, ChatBody) else str(body.prompt)
    for start in range(0, min(len(text), MAX_BLOCKS * PREFIX_CHARS) - PREFIX_CHARS + 1, PREFIX_CHARS):
        # A lone surrogate is valid JSON, and no text.
        yield text[start : start + PREFIX_CHARS].encode("utf-8", "surrogatepass")


def _chat_text(body: ChatBody) -> str:
    """The first messages as one text, each behind its role, so that no other messages' text equals it."""
    pieces: list[str] = []
    room = MAX_BLOCKS * PREFIX_CHARS
    for message in body.messages:
        if room <= 0:
            break
        piece = f"\x02{message.role}\x03{_content(message)}"
        pieces.append(piece)
        room -= len(piece)
    return "".join(pieces)


def _content(message: Message) -> str:
    if isinstance(message.content, list):
        return "".join([str(part.get("text", "")) for part in message.content])
    return message.content or ""
