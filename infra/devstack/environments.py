"""The engine's Python environment, `.venv-vllm`: found, or built from the lock that fits this machine.

vLLM and Faust cannot be installed together, so the worker and its engine have an environment of their own. The checkout
is installed into it without dependencies: the worker's code is the same file on both sides.
`python -m infra.devstack.environments` builds it (5.8 GB, a few minutes) and is done at once when it is up to date.
"""

import hashlib
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

from infra.devstack.home import CHECKOUT
from infra.devstack.once import exclusive
from infra.devstack.progress import megabytes, say

LOCKS = CHECKOUT / "infra" / "locks"
ENVIRONMENT = CHECKOUT / ".venv-vllm"
BUILT_FROM = "built-from"
"""The file in the environment that holds the fingerprint of what it was built from; written last."""


class Accelerator(StrEnum):
    """What the engine computes on; names its lock, `infra/locks/vllm-<accelerator>.txt`."""

    CPU = "cpu"
    GPU = "gpu"


def accelerator() -> Accelerator:
    """GPU where NVIDIA's driver answers and lists a device, CPU everywhere else."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Accelerator.CPU
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return Accelerator.GPU if listed.returncode == 0 and "GPU " in listed.stdout else Accelerator.CPU


def uv() -> Path:
    """The uv that `make setup` put beside this interpreter, or the one on the PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(sys.executable).parent / "uv"
    found = beside if beside.exists() else shutil.which("uv")
    if found is None:
        raise FileNotFoundError(f"uv is neither at {beside} nor on the PATH; run `make setup`")
    return Path(found)


def engine_python() -> Path | None:
    """The interpreter of the engine's environment, or None when it is missing or built from another lock."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / BUILT_FROM
    up_to_date = python.exists() and marker.exists() and marker.read_text() == _fingerprint(accelerator())
    return python if up_to_date else None


def ensure_engine_python() -> Path:
    """The interpreter of the engine's environment, which is built first if need be. Idempotent; one builder at a time.

    Raises:
        subprocess.CalledProcessError: uv failed; its own words are on stderr.
    """
    found = engine_python()
    if found is not None:
        return found
    with exclusive(ENVIRONMENT.with_name(".venv-vllm.lock")):
        return engine_python() or _build(accelerator())


def _fingerprint(kind: Accelerator) -> str:
    lock = (LOCKS / f"vllm-{kind}.txt").read_bytes()
    interpreter = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
    return hashlib.sha256(b"\0".join([lock, interpreter, bytes(CHECKOUT)])).hexdigest()


def _build(kind: Accelerator) -> Path:
    say(f"building the engine's environment for the {kind} at {ENVIRONMENT} (about 6 GB, a few minutes)")
    python = ENVIRONMENT / "bin" / "python"
    (ENVIRONMENT / BUILT_FROM).unlink(missing_ok=True)
    if not python.exists():
        _run(uv(), "venv", "--quiet", "--python", sys.executable, ENVIRONMENT)
    _run(uv(), "pip", "sync", "--quiet", "--python", python, "--require-hashes", LOCKS / f"vllm-{kind}.txt")
    editable = ("--no-deps", "--no-build-isolation", "--config-setting", "editable_mode=compat", "--editable", CHECKOUT)
    _run(uv(), "pip", "install", "--quiet", "--python", python, *editable)
    (ENVIRONMENT / BUILT_FROM).write_text(_fingerprint(kind))
    say(f"the engine's environment is ready: {megabytes(ENVIRONMENT)} MB")
    return python


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    ensure_engine_python()
