import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from infra.devstack.processes import ChildError
from pipeline.cli.main import main
from pipeline.cli.status import metrics_of
from pipeline.cli.up import DEMO_CONFIGS, config_of, serve
from pipeline.local import state
from topics.errors import PipelineError, SettingsError


class FakeCluster:
    """Notes what is done with it."""

    def __init__(self, *, fails: bool = False, ended: tuple[str, ...] = ()) -> None:
        self.fails = fails
        self.ended = ended
        self.story: list[str] = []

    def start(self, say: Callable[[str], None]) -> None:
        self.story.append("start")
        if self.fails:
            raise ChildError("kafka ended with status 1")

    def stop(self, say: Callable[[str], None]) -> None:
        self.story.append("stop")

    def revive(self) -> list[str]:
        self.story.append("revive")
        return list(self.ended)


def interrupted_after(looks: int) -> Callable[[], None]:
    remaining = iter(range(looks))

    def pause() -> None:
        if next(remaining, None) is None:
            raise KeyboardInterrupt

    return pause


def test_a_cluster_is_looked_after_until_ctrl_c_and_stopped() -> None:
    cluster = FakeCluster(ended=("worker",))
    said: list[str] = []
    ready: list[int] = []

    code = serve(cluster, lambda: ready.append(1), said.append, interrupted_after(2))

    assert code == 0
    assert cluster.story == ["start", "revive", "revive", "stop"]
    assert said == ["worker had ended and was started again"] * 2
    assert ready == [1]


def test_a_cluster_that_does_not_start_is_stopped_and_says_why() -> None:
    cluster = FakeCluster(fails=True)

    with pytest.raises(PipelineError, match="kafka ended"):
        serve(cluster, lambda: None, print, interrupted_after(0))

    assert cluster.story == ["start", "stop"]


def arguments(config: Path | None = None, engine: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(config=config, engine=engine)


def test_without_settings_the_demos_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_CONFIG", raising=False)

    assert config_of(arguments()) == DEMO_CONFIGS["vllm"]
    assert config_of(arguments(engine="simulated")) == DEMO_CONFIGS["simulated"]


def test_settings_in_the_folder_are_taken_unless_an_engine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_CONFIG", raising=False)
    (tmp_path / "millrace.toml").touch()

    assert config_of(arguments()) == Path("millrace.toml")
    assert config_of(arguments(engine="simulated")) == DEMO_CONFIGS["simulated"]


def test_a_file_and_an_engine_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave one out"):
        config_of(arguments(config=tmp_path, engine="vllm"))


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none.toml does not exist"):
        config_of(arguments(config=tmp_path / "none.toml"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder in which no cluster runs."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def owner(home: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A program that owns the default cluster, by its state file."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    folder = home / "clusters" / "default"
    folder.mkdir(parents=True)
    running = state.ClusterState(
        pid=process.pid, config="/it's.toml", kafka="k:1", clickhouse="http://c:2", logs=str(folder)
    )
    state.write(folder, running)
    yield process
    process.kill()
    process.wait()


def test_env_fails_where_no_cluster_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "`millrace up --detach` starts it" in captured.err


def test_env_is_lines_for_a_shell(owner: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        """export MILLRACE_CONFIG='/it'"'"'s.toml'""",
        "export MILLRACE_KAFKA=k:1",
        "export MILLRACE_CLICKHOUSE=http://c:2",
    ]


def test_env_as_json(owner: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["MILLRACE_KAFKA"] == "k:1"


def test_up_shows_a_cluster_that_runs_already(owner: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--engine", "simulated"]) == 0

    captured = capsys.readouterr()
    assert "runs already" in captured.err
    assert "k:1" in captured.out


def test_down_ends_the_program_that_owns_the_cluster(
    owner: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["down", "--json"]) == 0

    assert owner.poll() is not None
    assert msgspec.json.decode(capsys.readouterr().out) == {"name": "default", "was_running": True, "stopped": True}


def test_down_is_done_where_nothing_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert "does not run" in capsys.readouterr().err


def test_a_clusters_name_is_a_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--name", "../x"]) == 2
    assert "is no name" in capsys.readouterr().err


def test_status_finds_the_metrics_of_the_cluster_that_the_settings_belong_to(tmp_path: Path) -> None:
    config, metrics = tmp_path / "millrace.toml", {"recorder": "http://127.0.0.1:9/metrics"}
    running = state.ClusterState(
        pid=os.getpid(), config=str(config), kafka="k:1", clickhouse="http://c:2", logs="/l", metrics=metrics
    )
    state.write(tmp_path, running)

    assert metrics_of(None, {"MILLRACE_CONFIG": str(config)}) == metrics_of(config, {}) == metrics
    assert metrics_of(tmp_path / "other.toml", {}) == metrics_of(None, {}) == {}
