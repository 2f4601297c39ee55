"""Blocks of prompts in an engine's KV cache."""

from pipeline.simulation.llm.prefix_cache import PrefixCache


def test_a_prompt_finds_its_blocks_from_the_first_one_on() -> None:
    cache = PrefixCache()
    cache.hold((1, 2, 3))
    assert cache.known((1, 2, 9)) == 2
    assert cache.known((9, 2, 3)) == 0


def test_what_a_sequence_holds_stays_however_little_room_there_is() -> None:
    cache = PrefixCache()
    cache.hold((1, 2))
    cache.hold((1,))
    cache.release((1, 2))
    cache.trim(0)
    assert cache.known((1, 2)) == 1
    cache.release((1,))
    cache.trim(0)
    assert cache.known((1, 2)) == 0


def test_idle_blocks_go_in_the_order_of_their_use_and_the_ends_of_prompts_before_their_beginnings() -> None:
    cache = PrefixCache()
    for blocks in ((1, 2), (7, 8)):
        cache.hold(blocks)
        cache.release(blocks)
    cache.trim(3)
    assert (cache.known((1, 2)), cache.known((7, 8))) == (1, 2)
    cache.trim(1)
    assert (cache.known((1, 2)), cache.known((7, 8))) == (0, 1)
