"""Start a local cluster: Kafka, ClickHouse, processors and workers as child processes of one program.

It runs until Ctrl-C, or with --detach until `millrace down`; a process that ends is started again. The settings file
is --config, else $MILLRACE_CONFIG, else ./millrace.toml, else the demo's for --engine.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from infra.devstack.home import CHECKOUT
from infra.devstack.processes import ChildError
from pipeline.cli.failures import FAILED, OK, tell
from pipeline.cli.local import add_name, folder_of
from pipeline.cli.output import emit_json, talk, terminal
from pipeline.cli.views.cluster import cluster_view
from pipeline.local import state
from topics.errors import PipelineError, SettingsError

EXAMPLE = """\
millrace up --engine simulated --detach
eval "$(millrace env)"
millrace status --watch"""

DEMO: Final = CHECKOUT / "infra" / "demo"
DEMO_CONFIGS: Final = {"vllm": DEMO / "millrace.toml", "simulated": DEMO / "simulated.toml"}
STEP: Final = "· "
REVIVE_EVERY_S: Final = 1.0
DETACHED_WITHIN_S: Final = 1800.0
"""For a detached cluster to serve: the first one on a machine builds the engine's environment."""


class Cluster(Protocol):
    """What `up` needs of a local cluster."""

    def start(self, say: Callable[[str], None]) -> None:
        """Return when all of it serves."""

    def stop(self, say: Callable[[str], None]) -> None:
        """Stop all of it; idempotent."""

    def revive(self) -> list[str]:
        """Start what has ended again; the names of it."""
        ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to run, and how."""
    add_name(parser)
    parser.add_argument("--detach", action="store_true", help="return when the cluster serves, and leave it running")
    parser.add_argument(
        "--engine",
        choices=sorted(DEMO_CONFIGS),
        help="take the demo's settings with this engine: vllm (default) or a cost model in its place",
    )


def run(args: argparse.Namespace) -> int:
    """Start it, unless it runs already."""
    folder = folder_of(args)
    running = state.read(folder)
    if running is not None:
        tell(f"cluster {args.name} runs already (pid {running.pid}); `millrace down` stops it")
        _show(args, running)
        return OK
    config = config_of(args)
    return _detach(args, folder, config) if args.detach else _serve(args, folder, config)


def config_of(args: argparse.Namespace) -> Path:
    """The settings file of the cluster.

    Raises:
        SettingsError: both a file and an engine of the demo were named, or the file does not exist.
    """
    if args.config is not None and args.engine is not None:
        raise SettingsError("--engine chooses the demo's settings, so it does not go with --config; leave one out")
    named = args.config or os.environ.get("MILLRACE_CONFIG")
    local = Path("millrace.toml")
    if args.engine is not None or (named is None and not local.exists()):
        return DEMO_CONFIGS[args.engine or "vllm"]
    path = Path(named or local)
    if not path.exists():
        raise SettingsError(f"settings file {path} does not exist")
    return path


def serve(cluster: Cluster, on_ready: Callable[[], None], say: Callable[[str], None], pause: Callable[[], None]) -> int:
    """Start a cluster and keep it running until Ctrl-C, which stops all of it, also in the middle of the start.

    Args:
        cluster: not started.
        on_ready: called once, when all of it serves.
        say: told about each step.
        pause: returns after the time between two looks at the processes.

    Raises:
        PipelineError: a process did not get ready; the message ends with the last lines of its log.
    """
    try:
        cluster.start(say)
        on_ready()
        while True:
            pause()
            for name in cluster.revive():
                say(f"{name} had ended and was started again")
    except KeyboardInterrupt:
        return OK
    except ChildError as error:
        raise PipelineError(str(error)) from error
    finally:
        cluster.stop(say)


def _serve(args: argparse.Namespace, folder: Path, config: Path) -> int:
    from pipeline.local.cluster import LocalCluster

    console = talk()

    def on_ready() -> None:
        running = state.read(folder)
        if running is not None:
            _show(args, running)
        console.print("[dim]Ctrl-C stops it[/]")

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = LocalCluster(folder=folder, config=config, flags=tuple(args.flags))
    return serve(
        cluster, on_ready, lambda step: console.print(f"[dim]{STEP}{step}[/]"), lambda: time.sleep(REVIVE_EVERY_S)
    )


def _detach(args: argparse.Namespace, folder: Path, config: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    flags = [part for flag in args.flags for part in ("--set", flag)]
    command = [sys.executable, "-m", "pipeline.cli.main", "--config", str(config), *flags, "up", "--name", args.name]
    log = folder / "up.log"
    with log.open("wb") as output:
        owner = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    running = _wait_for(owner, folder, log)
    if running is None:
        lines = log.read_text(errors="replace").splitlines()[-25:]
        tell("\n  ".join([f"error: the cluster did not start; the end of {log}:", *lines]))
        return FAILED
    _show(args, running)
    return OK


def _wait_for(owner: "subprocess.Popen[bytes]", folder: Path, log: Path) -> state.ClusterState | None:
    """The state of the cluster once it serves, None if its owner ended before. Its steps are shown meanwhile."""
    shown = 0
    for _ in range(round(DETACHED_WITHIN_S / 0.2)):
        steps = log.read_text(errors="replace").splitlines()
        for step in steps[shown:]:
            if step.startswith(STEP):
                print(step, file=sys.stderr)
        shown = len(steps)
        running = state.read(folder)
        if running is not None and running.pid == owner.pid:
            return running
        try:
            owner.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        return None
    return None


def _show(args: argparse.Namespace, running: state.ClusterState) -> None:
    emit_json(running) if args.json else terminal().print(cluster_view(args.name, running))
