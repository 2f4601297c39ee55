"""Environment variables that vLLM reads: set here, once, before it is imported, and nowhere else in this package.

What the operator has set already is left alone. Processes that vLLM starts inherit all of it.
"""

import os

from pipeline.settings.model import VllmDeployment

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


def variables(deployment: VllmDeployment) -> dict[str, str]:
    """What `prepare` sets for a deployment, where it is not set yet."""
    chosen = dict(_ALWAYS)
    if deployment.enforce_eager:
        # Else the first request for log probabilities makes torch compile a kernel, and all sequences wait (16 s).
        chosen["TORCHDYNAMO_DISABLE"] = "1"
    if deployment.threads:
        # vLLM pins one thread to each core but one; a number of threads leaves the choice of cores to the kernel.
        chosen |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(deployment.threads)}
    return chosen


def prepare(deployment: VllmDeployment) -> None:
    """Set the variables of a deployment. Takes effect only before vLLM is imported."""
    for name, value in variables(deployment).items():
        os.environ.setdefault(name, value)
