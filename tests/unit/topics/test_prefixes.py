"""Hashes of prompt beginnings: stable, chained, bounded, and none for prompts that are too short."""

import subprocess
import sys

from topics.bodies import Body, ChatBody, CompletionBody, Message
from topics.prefixes import MAX_BLOCKS, PREFIX_CHARS, cached_tokens, prefix_hashes

SYSTEM = "You are the miller of a mill that grinds questions into answers. " * 40


def chat(*contents: str, system: str = SYSTEM) -> Body:
    messages = [Message(role="system", content=system), *(Message(role="user", content=text) for text in contents)]
    return ChatBody(messages=messages)


def shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=False))


def test_a_prompt_shorter_than_a_block_has_none() -> None:
    assert prefix_hashes(CompletionBody(prompt="x" * (PREFIX_CHARS - 1))) == ()


def test_there_is_one_for_each_whole_block() -> None:
    assert len(prefix_hashes(CompletionBody(prompt="x" * (3 * PREFIX_CHARS + 1)))) == 3


def test_their_number_is_bounded() -> None:
    assert len(prefix_hashes(CompletionBody(prompt="x" * (100 * PREFIX_CHARS)))) == MAX_BLOCKS


def test_blocks_with_the_same_text_at_other_places_differ() -> None:
    hashes = prefix_hashes(CompletionBody(prompt="x" * (4 * PREFIX_CHARS)))

    assert len(set(hashes)) == 4


def test_chats_share_the_blocks_of_their_common_beginning() -> None:
    one, other = prefix_hashes(chat("What is flour?" * 50)), prefix_hashes(chat("And what is bran?" * 50))

    assert shared(one, other) == len(SYSTEM) // PREFIX_CHARS


def test_a_different_beginning_makes_all_of_them_different() -> None:
    one, other = prefix_hashes(chat("same" * 500)), prefix_hashes(chat("same" * 500, system="!" + SYSTEM))

    assert not set(one) & set(other)


def test_who_said_it_matters() -> None:
    said = prefix_hashes(ChatBody(messages=[Message(role="assistant", content=SYSTEM)]))
    told = prefix_hashes(ChatBody(messages=[Message(role="user", content=SYSTEM)]))

    assert not set(said) & set(told)


def test_content_parts_count_like_text() -> None:
    parts = [{"type": "text", "text": SYSTEM[:700]}, {"type": "text", "text": SYSTEM[700:]}]

    in_parts = prefix_hashes(ChatBody(messages=[Message(role="user", content=parts)]))

    assert in_parts == prefix_hashes(ChatBody(messages=[Message(role="user", content=SYSTEM)]))


def test_token_ids_are_hashed_in_blocks_too() -> None:
    one = prefix_hashes(CompletionBody(prompt=[*range(256), 1]))
    other = prefix_hashes(CompletionBody(prompt=[*range(256), *range(128)]))

    assert len(one) == 2
    assert other[:2] == one


def test_lone_surrogates_are_no_obstacle() -> None:
    assert len(prefix_hashes(CompletionBody(prompt="\ud800" * PREFIX_CHARS))) == 1


def test_they_fit_into_63_bits() -> None:
    assert all(0 <= number < 2**63 for number in prefix_hashes(chat("x" * 9000)))


def test_they_are_the_same_in_every_process() -> None:
    code = (
        "from topics.bodies import CompletionBody; from topics.prefixes import prefix_hashes\n"
        "print(prefix_hashes(CompletionBody(prompt='flour ' * 300)))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.strip() == str(prefix_hashes(CompletionBody(prompt="flour " * 300)))


def test_the_longest_known_beginning_counts() -> None:
    assert cached_tokens((11, 22, 33), {22}) == 2 * PREFIX_CHARS // 4


def test_nothing_known_is_nothing_cached() -> None:
    assert cached_tokens((11, 22, 33), {44}) == 0
