"""Which numbers a model computes in on a CPU."""

import pytest

from pipeline.engines.vllm.dtype import cpu_features, dtype_on_cpu
from pipeline.settings.model import VllmDeployment

CPUINFO = (
    "processor\t: 0\nmodel name\t: a CPU\nflags\t\t: fpu avx2 {more}\nbugs\t\t: bf16\n\nprocessor\t: 1\nflags\t\t: x\n"
)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        (CPUINFO.format(more="avx512f avx512_bf16"), "bfloat16"),
        (CPUINFO.format(more="amx_bf16"), "bfloat16"),
        (CPUINFO.format(more="avx512f"), "float32"),
        (CPUINFO.format(more=""), "float32"),
        ("Features\t: fp asimd bf16\n", "bfloat16"),
        ("Features\t: fp asimd\n", "float32"),
        ("processor\t: 0\n", "auto"),
        ("", "auto"),
    ],
)
def test_bfloat16_is_taken_where_the_cpu_computes_in_it(text: str, dtype: str) -> None:
    assert dtype_on_cpu(VllmDeployment(path="m"), cpu_features(text)) == dtype


@pytest.mark.parametrize("features", [frozenset[str](), frozenset({"avx2"}), frozenset({"amx_bf16"})])
def test_what_a_deployment_says_is_kept(features: frozenset[str]) -> None:
    assert dtype_on_cpu(VllmDeployment(path="m", dtype="float16"), features) == "float16"
    assert dtype_on_cpu(VllmDeployment(path="m", quantization="awq"), features) == "auto"
