"""The account is compared with what readers have."""

from tests.bench.chaos.judge import Problem
from tests.bench.chaos.rows import check_rows

ACCEPTED = {"lane/0/1": ("r1", "a"), "lane/0/2": ("r2", "b")}


def test_one_row_of_the_accepted_attempt_is_right() -> None:
    assert check_rows({"lane/0/1": ["a"], "lane/0/2": ["b"]}, ACCEPTED, doubled=frozenset()) == []


def test_missing_doubled_and_foreign_rows_are_seen() -> None:
    def problems(rows: dict[str, list[str]]) -> list[tuple[str, Problem]]:
        return [
            (violation.request_id, violation.problem) for violation in check_rows(rows, ACCEPTED, doubled=frozenset())
        ]

    assert problems({"lane/0/2": ["b"]}) == [("r1", Problem.LOST)]
    assert problems({"lane/0/1": ["a", "a"], "lane/0/2": ["b"]}) == [("r1", Problem.DOUBLED)]
    assert problems({"lane/0/1": ["x"], "lane/0/2": ["b"]}) == [("r1", Problem.WRONG_ROW)]
    assert problems({"lane/0/1": ["a"], "lane/0/2": ["b"], "lane/0/3": ["c"]}) == [("lane/0/3", Problem.DOUBLED)]


def test_of_a_request_that_was_dispatched_twice_either_row_is_right_but_one_only() -> None:
    def problems(attempts: list[str]) -> list[Problem]:
        rows = {"lane/0/1": attempts, "lane/0/2": ["b"]}
        return [violation.problem for violation in check_rows(rows, ACCEPTED, doubled=frozenset({"lane/0/1"}))]

    assert problems(["x"]) == []
    assert problems(["a", "x"]) == [Problem.DOUBLED]
    assert problems([]) == [Problem.LOST]
