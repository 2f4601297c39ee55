"""Environment variables that vLLM reads: set here, once, before it is imported, and nowhere else in this package.

What the operator has set already is left alone. Processes that vLLM starts inherit all of it.
"""

import os
from typing import Final

from pipeline.settings.model import VllmDeployment

SMALL_CORES: Final = 4
"""Up to so many cores nothing is gained by pinning a thread to each."""
_ALWAYS = {
    # Answers must not depend on a hub being reachable: deployments name folders.
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # The output of a command is its product; vLLM logs to stdout by default.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "TOKENIZERS_PARALLELISM": "false",
    # Never fork: the worker has threads, an event loop and broker connections that a copy would keep open.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


def threads_of(deployment: VllmDeployment, *, cores: int) -> int:
    """OpenMP threads of the engine, pinned to no core; 0 where vLLM chooses and pins them."""
    return deployment.threads or (max(1, cores - 1) if cores <= SMALL_CORES else 0)


def variables(deployment: VllmDeployment, *, cores: int) -> dict[str, str]:
    """What `prepare` sets for a deployment on a machine with so many cores, where it is not set yet."""
    chosen = dict(_ALWAYS)
    if deployment.enforce_eager:
        # Else the first request for log probabilities makes torch compile a kernel, and all sequences wait (16 s).
        chosen["TORCHDYNAMO_DISABLE"] = "1"
    if threads := threads_of(deployment, cores=cores):
        # vLLM pins one thread to each core but one; a number of threads leaves the choice of cores to the kernel.
        chosen |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    return chosen


def prepare(deployment: VllmDeployment) -> None:
    """Set the variables of a deployment. Takes effect only before vLLM is imported."""
    for name, value in variables(deployment, cores=os.cpu_count() or 1).items():
        os.environ.setdefault(name, value)
