"""What clients' statements may take, as the engine is told."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from sinks.clickhouse.http.limits import (
    CONFIG_FILE,
    OWNER_BYTES,
    Limits,
    Rights,
    connection_string,
)
from sinks.clickhouse.http.priority import merge_threads

GIB = 1 << 30


def config(limits: Limits, folder: str = "/data") -> ElementTree.Element:
    return ElementTree.fromstring(limits.config(Path(folder), merge_threads=3))


def test_a_reader_is_constrained_and_a_writer_only_in_what_is_everyones() -> None:
    limits = Limits(max_memory_usage_bytes=5 * GIB, max_execution_time_s=0.5)
    reader = config(limits).find("profiles/reader/constraints")
    client = config(limits).find("profiles/client/constraints")

    assert reader is not None and client is not None
    assert [tag.tag for tag in client] == ["workload", "max_untracked_memory"]
    assert reader.findtext("max_memory_usage/max") == str(5 * GIB)
    assert reader.findtext("max_memory_usage/min") == "1"
    assert reader.findtext("max_execution_time/max") == "0.5"
    assert all(fixed.find("const") is not None for fixed in client)


def test_no_limit_is_no_constraint() -> None:
    reader = config(Limits(max_memory_usage_bytes=0, max_execution_time_s=0)).find("profiles/reader/constraints")

    assert reader is not None
    assert [tag.tag for tag in reader] == ["workload", "max_untracked_memory"]


@pytest.mark.parametrize("rights", Rights)
def test_values_come_before_the_constraints_and_both_before_read_only(rights: Rights) -> None:
    values, profile, *rest = Limits().opening(rights)

    assert f"max_memory_usage = '{4 * GIB}'" in values and "workload = 'clients'" in values
    assert profile == f"SET profile = '{'reader' if rights is Rights.VIEW else 'client'}'"
    assert rest == (["SET readonly = 2"] if rights.is_readonly else [])


def test_what_all_may_take_leaves_the_owner_its_share() -> None:
    given = Limits(max_total_memory_bytes=3 * GIB)

    assert given.workload(engine_bytes=99)[-1].endswith(f"max_memory = {3 * GIB}")
    assert config(given).findtext("max_server_memory_usage") == str(3 * GIB + OWNER_BYTES)


def test_where_nothing_is_given_clients_have_two_thirds_of_the_engines_share() -> None:
    assert config(Limits()).findtext("max_server_memory_usage_to_ram_ratio") == "0.6"
    assert Limits().workload(engine_bytes=3000)[-1].endswith("max_memory = 2000")


def test_no_limit_on_all_takes_an_earlier_one_away() -> None:
    assert Limits(max_total_memory_bytes=0).workload(engine_bytes=99) == ("DROP WORKLOAD IF EXISTS clients",)
    assert config(Limits(max_total_memory_bytes=0)).find("max_server_memory_usage") is None


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (7, 1), (8, 2), (64, 16)])
def test_merges_have_one_core_in_four(cores: int, threads: int) -> None:
    assert merge_threads(cores) == threads


def test_the_engine_is_told_how_many_threads_merge() -> None:
    assert config(Limits()).findtext("background_pool_size") == "3"


@pytest.mark.parametrize("name", ["a+b", "a b", "a%20b", "a&b", "ä"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert connection_string(str(folder)) == str(folder)

    (folder / CONFIG_FILE).write_text(Limits().config(folder, merge_threads=1))

    path, _, query = connection_string(str(folder)).partition("?")
    assert path == f"file:{folder}"
    assert not set(query.removeprefix("config-file=")) & set("+ &")
    assert config(Limits(), str(folder)).findtext("user_directories/users_xml/path") == str(folder / CONFIG_FILE)
