"""Which type of GPU this machine has, as the account and its prices name it. Imports no GPU library."""

from pathlib import Path
from typing import Final

from pipeline.settings import Deployment, SimulatedDeployment

SIMULATED: Final = "simulated"
CPU: Final = "cpu"
_GPUS: Final = Path("/proc/driver/nvidia/gpus")


def gpu_type(deployment: Deployment, *, folder: Path = _GPUS) -> str:
    """`simulated` for a cost model, the driver's name of the first GPU, or `cpu` where there is none."""
    if isinstance(deployment, SimulatedDeployment):
        return SIMULATED
    for information in sorted(folder.glob("*/information")):
        for line in information.read_text().splitlines():
            label, _, name = line.partition(":")
            if label.strip() == "Model" and name.strip():
                return name.strip()
    return CPU
