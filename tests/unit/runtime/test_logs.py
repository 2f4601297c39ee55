"""Lines that say the same are said seldom, and none is lost without being counted."""

import logging

from pipeline.runtime.logs import MAX_KINDS, Seldom, SeldomRepeated


def a_record(logger: str, message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord(logger, logging.WARNING, __file__, 1, message, args, None)


def test_the_first_passes_and_the_next_after_the_interval_tells_how_many_did_not() -> None:
    seldom = Seldom(every_s=10)
    assert [seldom.due(now_s) for now_s in (0, 1, 9.9, 10, 11, 20)] == [0, None, None, 2, None, 1]


def test_after_a_reset_the_next_passes() -> None:
    seldom = Seldom(every_s=10)
    seldom.due(0)
    seldom.reset()
    assert seldom.due(1) == 0


def test_one_line_of_a_kind_passes_whatever_its_arguments() -> None:
    repeated = SeldomRepeated("aiokafka")
    assert repeated.filter(a_record("aiokafka.client", "cannot connect to %s", "a:1"))
    assert not repeated.filter(a_record("aiokafka.client", "cannot connect to %s", "b:2"))


def test_lines_of_another_kind_or_logger_are_not_its_business() -> None:
    repeated = SeldomRepeated("aiokafka")
    assert repeated.filter(a_record("aiokafka.client", "cannot connect"))
    assert repeated.filter(a_record("aiokafka.client", "cannot read"))
    assert repeated.filter(a_record("aiokafka.conn", "cannot connect"))


def test_loggers_that_are_not_named_are_let_through() -> None:
    repeated = SeldomRepeated("aiokafka")
    assert [repeated.filter(a_record("aiokafkas", "again")) for _ in range(2)] == [True, True]


def test_a_line_that_passes_says_how_many_like_it_did_not() -> None:
    repeated = SeldomRepeated("aiokafka")
    for _ in range(3):
        repeated.filter(a_record("aiokafka", "no %s", "broker"))
    repeated._kinds["aiokafka", "no %s"]._next_s = 0.0
    late = a_record("aiokafka", "no %s", "broker")
    assert repeated.filter(late)
    assert late.getMessage() == "no broker (and 2 more like this)"


def test_what_is_remembered_is_bounded() -> None:
    repeated = SeldomRepeated("aiokafka")
    for n in range(MAX_KINDS + 5):
        repeated.filter(a_record("aiokafka", f"kind {n}"))
    assert len(repeated._kinds) <= MAX_KINDS
