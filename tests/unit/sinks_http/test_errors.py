"""The engine's messages, read and passed on."""

import pytest

from sinks.clickhouse.http.errors import StatementError, exception_frame, from_engine


def test_code_and_name_are_found_behind_chdbs_prefix() -> None:
    error = from_engine(RuntimeError("Streaming query failed: Code: 60. DB::Exception: no table (a). (UNKNOWN_TABLE)"))
    assert (error.engine_code, error.name, error.status) == (60, "UNKNOWN_TABLE", 404)
    assert error.message == "Code: 60. DB::Exception: no table (a). (UNKNOWN_TABLE)"


def test_a_message_without_code_gets_one() -> None:
    error = from_engine(RuntimeError("Connection is closed"))
    assert (error.engine_code, error.status) == (1002, 500)
    assert error.message == "Code: 1002. DB::Exception: Connection is closed. (UNKNOWN_EXCEPTION)"


@pytest.mark.parametrize(
    ("engine_code", "status"),
    [(62, 400), (516, 403), (194, 401), (81, 404), (159, 408), (48, 501), (202, 503), (241, 500)],
)
def test_the_status_follows_the_code(engine_code: int, status: int) -> None:
    assert StatementError("", engine_code=engine_code, name="").status == status


def test_the_frame_tells_its_length_and_tag_twice() -> None:
    frame = exception_frame(StatementError("bööm", engine_code=395, name="N"), "00ff")
    message = "Code: 395. DB::Exception: bööm. (N)\n".encode()
    assert frame == b"\r\n__exception__\r\n00ff\r\n" + message + b"%d 00ff\r\n__exception__\r\n" % len(message)
