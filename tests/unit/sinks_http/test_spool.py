"""Rows of an INSERT on disk: there for the engine, and nowhere to be seen."""

from pathlib import Path

import pytest

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.spool import Spool


def test_what_is_appended_is_read_by_the_path_and_the_folder_stays_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"1,2\n")
    spool.append(b"\x00" * 100_000)
    assert Path(spool.path).read_bytes() == b"1,2\n" + b"\x00" * 100_000
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_closing_twice_is_no_error_and_gives_the_path_up(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = Path(spool.path)
    spool.close()
    spool.close()
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StatementError, match=r"gone.*No such file or directory") as caught:
        Spool(tmp_path / "gone")
    assert (caught.value.engine_code, caught.value.name) == (75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR")
