"""`kill -9` of workers with a real engine in mid-stream: are the texts those of the undisturbed runs?

Run as `python -m tests.bench.takeover_vllm [KILLS]`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from infra.devstack.environments import engine_python
from infra.devstack.kafka import KafkaBroker
from infra.devstack.model import ensure_model
from pipeline.settings import VllmDeployment
from tests.bench.report import Report, progress
from tests.integration.vllm.takeovers import Survival, survivals
from tests.integration.worker.workshop import a_workshop, answers_of

KILLS = 10


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
        return await survivals(shop, answers, python=python, log=log, kills=kills, say=progress)


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
    report = Report("takeover_vllm")
    report.figure("kills", kills)
    report.figure("answers", len(found))
    report.at_least("texts that are identical", sum(survival.is_identical for survival in found), len(found))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
