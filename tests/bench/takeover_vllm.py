"""`kill -9` of workers with a real engine in mid-stream: are the texts those of the undisturbed runs?

Run as `python -m tests.bench.takeover_vllm [KILLS]`; writes `bench-results/takeover_vllm.json`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from infra.devstack.environments import engine_python
from infra.devstack.kafka import KafkaBroker
from infra.devstack.model import ensure_model
from pipeline.settings import VllmDeployment
from tests.integration.vllm.takeovers import Survival, survivals
from tests.integration.worker.workshop import a_workshop, answers_of

KILLS = 10
RESULTS = Path("bench-results/takeover_vllm.json")


async def _run(bootstrap: str, python: Path, log: Path, kills: int) -> list[Survival]:
    engine = VllmDeployment(
        path=str(ensure_model()),
        dtype="float32",
        max_context_tokens=512,
        max_sequences=8,
        max_batch_tokens=512,
        kv_cache_gib=0.5,
    )
    async with (
        a_workshop(bootstrap, "smollm2", engine, session_timeout_ms=2000) as shop,
        answers_of(shop) as answers,
    ):
        return await survivals(shop, answers, python=python, log=log, kills=kills, say=print)


def main() -> int:
    """0 if all texts are identical."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    python = engine_python()
    if python is None:
        print("the engine's environment is missing; run `make setup-vllm`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        broker = KafkaBroker(folder=Path(folder), log=Path(folder) / "kafka.log")
        try:
            broker.start()
            found = asyncio.run(_run(broker.bootstrap, python, Path(folder) / "workers.log", kills))
        finally:
            broker.close()
    identical = sum(survival.is_identical for survival in found)
    result = {"kills": kills, "answers": len(found), "identical": identical, "survivals": found}
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    print(f"{identical} of {len(found)} texts are identical after {kills} kills")
    return 0 if identical == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
