"""What is kept of texts: nothing, lengths and hashes, or all, by the tenant's rule."""

import pytest

from topics.bodies import CHAT, COMPLETIONS, Endpoint, decode_body
from topics.texts import ANY_TENANT, MAX_KEPT_CHARS, NO_TEXTS, TextRules, prompt_of, text_row
from topics.trace import encode_rows
from topics.trace_rows import RequestRow

ROW = RequestRow(
    request_id="order-42",
    lane_topic="inference.requests.m.bulk",
    lane_partition=0,
    lane_offset=7,
    tenant="acme",
    latency_class="bulk",
    model="m",
    produced_ts=1_795_255_200_123_456,
    outcome="completed",
)


def columns(rules: TextRules, tenant: str = "acme", prompt: str = "user: Hi", answer: str = "Hello") -> tuple[int, ...]:
    return rules.columns(tenant, prompt=prompt, answer=answer)


def test_by_default_lengths_and_hashes_are_kept() -> None:
    chars_in, hash_in, chars_out, hash_out = columns(TextRules())
    assert (TextRules().of("acme"), chars_in, chars_out) == ("hash", 8, 5)
    assert 0 < hash_in < 2**64 and 0 < hash_out < 2**64 and hash_in != hash_out


def test_a_tenants_own_rule_goes_before_that_for_all_others() -> None:
    rules = TextRules(tenants={ANY_TENANT: "none", "acme": "full"})
    assert (rules.of("acme"), rules.of("globex")) == ("full", "none")
    assert columns(rules, "globex") == NO_TEXTS


def test_equal_texts_have_equal_hashes_within_a_tenant_only() -> None:
    assert columns(TextRules()) == columns(TextRules())
    assert columns(TextRules(), "globex")[1] != columns(TextRules())[1]
    assert columns(TextRules(), prompt="user: Ho")[1] != columns(TextRules())[1]


def test_hashes_depend_on_the_key_and_lengths_do_not() -> None:
    plain, keyed, other = columns(TextRules()), columns(TextRules(key="k" * 200)), columns(TextRules(key="l"))
    assert len({plain[1], keyed[1], other[1]}) == 3
    assert plain[::2] == keyed[::2] == other[::2]


def test_there_is_no_hash_of_nothing() -> None:
    assert columns(TextRules(), prompt="", answer="") == NO_TEXTS


@pytest.mark.parametrize(
    ("endpoint", "body", "prompt"),
    [
        (
            CHAT,
            b'{"messages":[{"role":"system","content":"Be."},{"role":"user","content":"Hi"}]}',
            "system: Be.\nuser: Hi",
        ),
        (CHAT, b'{"messages":[{"role":"user","content":[{"type":"text","text":"H"},{"text":"i"}]}]}', "user: Hi"),
        (COMPLETIONS, b'{"prompt":"Once"}', "Once"),
        (COMPLETIONS, b'{"prompt":[1,20]}', "1 20"),
    ],
)
def test_a_prompt_is_one_text(endpoint: Endpoint, body: bytes, prompt: str) -> None:
    assert prompt_of(decode_body(endpoint, body)) == prompt


def test_what_is_no_text_can_be_hashed_and_stored() -> None:
    lone = "a\ud800b"
    assert columns(TextRules(), prompt=lone)[1] > 0
    assert text_row(ROW, prompt=lone, answer="").prompt == "a?b"
    assert encode_rows("texts", [text_row(ROW, prompt=lone, answer="")])


def test_a_long_text_is_cut() -> None:
    row = text_row(ROW, prompt="ä" * (MAX_KEPT_CHARS + 1), answer="x")
    assert (len(row.prompt), row.answer, row.ts, row.lane_offset) == (MAX_KEPT_CHARS, "x", ROW.produced_ts, 7)
