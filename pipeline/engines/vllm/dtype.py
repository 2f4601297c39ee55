"""Which numbers a model computes in on a CPU, where its deployment leaves that open.

vLLM takes those of the model's folder. A CPU that cannot multiply bfloat16 by itself converts every weight in every
step: on two cores of an AVX2 machine a step of a 135 M model took 625 ms in bfloat16 and 171 ms in float32.
"""

from collections.abc import Set
from pathlib import Path
from typing import Final

from pipeline.settings.model import VllmDeployment

COMPUTE_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names of the features in /proc/cpuinfo, of x86 and of ARM."""


def dtype_on_cpu(deployment: VllmDeployment, features: Set[str]) -> str:
    """What `dtype` is on a CPU with these features; as the deployment says where it says so. Pure.

    Quantized models, and CPUs nothing is known of, are left to vLLM.
    """
    if deployment.dtype != "auto" or deployment.quantization or not features:
        return deployment.dtype
    return "bfloat16" if features & COMPUTE_BFLOAT16 else "float32"


def cpu_features(text: str) -> frozenset[str]:
    """The features of the first core, by the text of /proc/cpuinfo. Pure."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def features_of_this_cpu() -> frozenset[str]:
    """As `cpu_features`; none where there is no such file."""
    file = Path("/proc/cpuinfo")
    return cpu_features(file.read_text()) if file.exists() else frozenset()
