"""Which letters were put back, by the marks in log order."""

from pipeline.deadletters.ledger import GIVEN_UP_MS, Ledger, begun_mark, done_mark

LETTER = "inference.dlq/0/17"
OTHER = "inference.dlq/0/18"
END, THERE = "inference.requests.tiny.bulk/0/40", "inference.requests.tiny.bulk/0/41"


def begun(ledger: Ledger, run: str, at_ms: int, *, target: str = END) -> None:
    ledger.feed(begun_mark(LETTER, run=run, target=target), at_ms)


def holder(ledger: Ledger) -> str:
    found = ledger.holder(LETTER)
    return "" if found is None else found.run


def test_a_letter_without_marks_is_nobodys() -> None:
    ledger = Ledger()
    assert (ledger.replayed_at(LETTER), ledger.holder(LETTER), ledger.first(LETTER)) == (None, None, None)


def test_a_letter_that_was_put_back_says_where() -> None:
    ledger = Ledger()
    begun(ledger, "a", 0)
    ledger.feed(done_mark(LETTER, run="a", target=THERE), 1)
    assert (ledger.replayed_at(LETTER), ledger.holder(LETTER)) == (THERE, None)
    assert ledger.replayed_at(OTHER) is None


def test_of_two_replays_the_one_that_marked_it_first_holds_it() -> None:
    ledger = Ledger()
    begun(ledger, "a", 0)
    begun(ledger, "b", GIVEN_UP_MS - 1)
    assert holder(ledger) == "a"


def test_a_replay_that_has_given_up_gives_way_and_losers_do_not_count() -> None:
    ledger = Ledger()
    begun(ledger, "a", 0)
    begun(ledger, "loser", GIVEN_UP_MS - 1)
    begun(ledger, "b", GIVEN_UP_MS)
    begun(ledger, "late", GIVEN_UP_MS + 1)
    assert holder(ledger) == "b"


def test_the_oldest_unfinished_replay_says_from_where_on_the_record_may_lie() -> None:
    ledger = Ledger()
    begun(ledger, "a", 0)
    begun(ledger, "b", GIVEN_UP_MS, target=THERE)
    first = ledger.first(LETTER)
    assert first is not None
    assert (first.run, first.target) == ("a", END)
