"""Which blocks of prompts an engine has in its KV cache: those that sequences hold, and idle ones until room is needed.

Idle blocks go in the order of their last use, of one prompt the last blocks first. What several sequences share counts
for each of them in the replica's KV tokens, so there is a little less room for idle blocks than in an engine.

Source: vLLM v1, `vllm/v1/core/kv_cache_manager.py` and `block_pool.py` (automatic prefix caching).
"""

from collections import OrderedDict
from collections.abc import Sequence


class PrefixCache:
    """Blocks by id. An id stands for a block and all that is before it in the prompt."""

    __slots__ = ("_idle", "_users")

    def __init__(self) -> None:
        self._users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    def known(self, blocks: Sequence[int]) -> int:
        """How many of a prompt's blocks are there, from the first one on."""
        for count, block in enumerate(blocks):
            if block not in self._users and block not in self._idle:
                return count
        return len(blocks)

    def hold(self, blocks: Sequence[int]) -> None:
        """A sequence uses these blocks; they stay until it releases them."""
        for block in blocks:
            self._idle.pop(block, None)
            self._users[block] = self._users.get(block, 0) + 1

    def release(self, blocks: Sequence[int]) -> None:
        """A sequence that held these blocks, the first of its prompt first, is gone."""
        for block in reversed(blocks):
            users = self._users.pop(block) - 1
            if users:
                self._users[block] = users
            else:
                self._idle[block] = None

    def trim(self, room: int) -> None:
        """There is room for so many idle blocks."""
        while len(self._idle) > max(room, 0):
            self._idle.popitem(last=False)
