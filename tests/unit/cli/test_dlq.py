import argparse

import pytest

from pipeline.cli import dlq
from pipeline.cli.views.dlq import letter_view, letters_table, listed, outcomes_table, printable, shown
from pipeline.deadletters.ledger import Ledger, done_mark
from pipeline.deadletters.letters import Letter, Position
from pipeline.deadletters.replay import Outcome
from tests.unit.cli.rendering import rendered
from topics.errors import SettingsError
from topics.headers import dead_letter

SECRET = b'{"body": {"prompt": "my secret"}}'
LANE = "inference.requests.tiny.bulk"


def a_letter(value: bytes | None = SECRET) -> Letter:
    headers = dead_letter(
        [("traceparent", b"00-ab")],
        topic=LANE,
        partition=1,
        offset=7,
        stage="processor",
        code="undecodable",
        message="request is no JSON",
    )
    return Letter(position=Position(0, 17), at_ms=0, key=b"k", headers=headers, value=value, value_bytes=33)


def an_answer(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    dlq.add_arguments(parser)
    return parser.parse_args(line)


def test_a_list_says_when_where_and_why_and_whether_it_was_put_back() -> None:
    ledger = Ledger()
    ledger.feed(done_mark("inference.dlq/0/17", run="r", target=f"{LANE}/1/9"), 0)

    said = rendered(letters_table([a_letter()], ledger), columns=200)

    row = said.splitlines()[-1]
    assert row.split()[:6] == ["0/17", "1970-01-01", "00:00:00", "undecodable", f"{LANE}/1/7", "33"]
    assert f"{LANE}/1/9" in row
    assert listed(a_letter(), ledger)["replayed"] == f"{LANE}/1/9"


def test_bytes_are_shown_only_where_they_were_asked_for() -> None:
    hidden = rendered(letter_view(shown(a_letter(), with_payload=False)), columns=200)
    open_ = rendered(letter_view(shown(a_letter(), with_payload=True)), columns=200)

    assert "secret" not in hidden
    assert "secret" not in str(listed(a_letter(), Ledger()))
    assert "--payload shows it" in hidden
    assert "my secret" in open_
    assert "traceparent: 00-ab" in hidden


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a\tb\nc", "a\tb\nc"), ("é".encode(), "é"), (b"\xff\x00", "0xff00"), (b"a\x1b[2J", "0x611b5b324a")],
)
def test_bytes_that_a_terminal_cannot_show_are_in_hex(content: bytes, said: str) -> None:
    assert printable(content) == said


def test_outcomes_are_a_line_each() -> None:
    outcomes = [Outcome(letter="inference.dlq/0/1", state="impossible", why="7 bytes of it were cut off")]

    assert "impossible" in rendered(outcomes_table(outcomes))


@pytest.mark.parametrize(
    "line",
    [
        ("show",),
        ("list", "0/1"),
        ("replay",),
        ("replay", "0/1", "--all"),
        ("purge",),
        ("purge", "--all", "--code", "x"),
        ("show", "17"),
    ],
    ids=" ".join,
)
def test_a_line_that_does_not_say_which_letters_is_wrong_usage(line: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError):
        dlq.run(an_answer(*line))
