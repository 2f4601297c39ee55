"""Expensive things are made once, whole or not at all."""

import threading
from pathlib import Path

import pytest

from infra.devstack.once import made_once


def test_a_made_folder_is_not_made_again(tmp_path: Path) -> None:
    target = made_once(tmp_path / "jars", lambda folder: (folder / "first").touch())
    made_once(tmp_path / "jars", lambda folder: (folder / "second").touch())
    assert [path.name for path in target.iterdir()] == ["first"]


def test_a_failed_maker_leaves_nothing_that_looks_made(tmp_path: Path) -> None:
    def break_down(folder: Path) -> None:
        (folder / "half").touch()
        raise ConnectionError("index out of reach")

    with pytest.raises(ConnectionError):
        made_once(tmp_path / "jars", break_down)
    assert [path.name for path in tmp_path.iterdir()] == [".jars.lock"]


def test_what_a_killed_maker_left_is_not_taken_over(tmp_path: Path) -> None:
    leftover = tmp_path / ".jars.unfinished"
    leftover.mkdir()
    (leftover / "half").touch()
    target = made_once(tmp_path / "jars", lambda folder: (folder / "whole").touch())
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_makers_at_the_same_time_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []
    barrier = threading.Barrier(4)

    def maker() -> None:
        barrier.wait()
        made_once(tmp_path / "jars", made.append)

    threads = [threading.Thread(target=maker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
