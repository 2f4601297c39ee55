"""What a simulated engine says: a hash of the prompt, the seed and all tokens so far chooses the next word.

Two engines given the same request say the same, and one that is given the first tokens goes on with the same words.
Stop strings end the text where they begin, as in vLLM: text that may become one is held back.
"""

from hashlib import blake2b
from typing import Final

import msgspec

from topics.bodies import Body, ChatBody

_SAYING: Final = """
the mill wheel turns slowly and water runs over stone while grain becomes flour before noon so every sack that leaves
our yard carries one more story of rain hills rivers wind salt iron bread small boats long roads early light quiet rooms
old friends open doors warm hands deep wells green fields far towers bright coins kind words sharp tools round tables
plain songs tall ships cold nights clear plans fair weather good work
"""
WORDS: Final = tuple(_SAYING.split())
FIRST_TOKEN_ID: Final = 16
"""Ids below are control tokens of nobody; word `i` is token `FIRST_TOKEN_ID + i`."""
_COUNT: Final = len(WORDS)
_MASK: Final = (1 << 64) - 1
_TEXTS: Final = tuple(" " + word for word in WORDS)


def state_of(body: Body) -> int:
    """The state before the first token: a 64-bit hash of the prompt and the seed."""
    prompt = body.messages if isinstance(body, ChatBody) else body.prompt
    digest = blake2b(msgspec.json.encode((prompt, body.seed)), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def next_token(state: int) -> int:
    """The token that follows on a state."""
    return FIRST_TOKEN_ID + (state >> 33) % _COUNT


def advance(state: int, token_id: int) -> int:
    """The state after a token: the token is mixed in first, so that one wrong token shows in the very next.

    Source: one step of Knuth's MMIX linear congruential generator.
    """
    return ((state ^ token_id) * 6364136223846793005 + 1442695040888963407) & _MASK


def text_of(token_id: int, position: int) -> str:
    """The text of a token: its word, after a space unless it is the first."""
    index = (token_id - FIRST_TOKEN_ID) % _COUNT
    return _TEXTS[index] if position else WORDS[index]


def natural_length(state: int) -> int:
    """How many tokens an answer has that nothing else ends: 16 to 143, by the state before its first token."""
    return 16 + (state >> 17) % 128


class StopScanner:
    """Finds stop strings in a text that comes in pieces, and holds back what may become one."""

    __slots__ = ("_held", "_longest", "_stops")

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._longest = max(map(len, stops)) - 1
        self._held = ""

    def feed(self, piece: str) -> tuple[str, bool]:
        """Text that can be shown, and whether a stop string was found right after it."""
        text = self._held + piece
        found = [at for at in map(text.find, self._stops) if at >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        cut = max(len(text) - self._longest, 0)
        self._held = text[cut:]
        return text[:cut], False

    def flush(self) -> str:
        """What was held back, when the answer ends otherwise."""
        held, self._held = self._held, ""
        return held
