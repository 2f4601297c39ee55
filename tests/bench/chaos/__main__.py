"""`make bench-chaos`: kill, freeze, drain and restart everything under a hundred streams, and lose nothing.

Three workers, two processors, one recorder and the embedded broker with sessions of 2 s. The engine is simulated: each
token is a hash of the request and of the tokens before it, so that every answer is known in advance, token for token.
Each is read by the client library and by a plain consumer that has the README's thirty lines; the account is compared
at the end.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import uvloop

from pipeline.runtime.process import settle_memory
from pipeline.settings import SimulatedDeployment
from tests.bench.chaos.plan import FULL, Fault, counts_of, draw
from tests.bench.chaos.run import USERS, Run, chaos_cluster
from tests.bench.chaos.users import MODEL
from tests.bench.chaos.verdict import tell
from tests.bench.report import Report


async def bench(args: argparse.Namespace, folder: Path) -> int:
    """The whole benchmark; the exit code."""
    counts: dict[Fault, int] = args.faults
    blows = draw(counts, seed=args.seed, minutes=args.minutes)
    print(f"seed {args.seed}: {len(blows)} faults in about {args.minutes:g} min; logs and data in {folder}", flush=True)
    async with chaos_cluster(folder / "cluster") as cluster:
        settle_memory()
        run = Run(cluster, blows, seed=args.seed, users=args.users)
        outcome = await run.whole(folder / "evidence")
        settings = cluster.settings
    engine = settings.deployments[settings.models[MODEL].stable]
    assert isinstance(engine, SimulatedDeployment)
    report = Report("chaos")
    report.figure("seed", args.seed)
    tell(
        report,
        outcome,
        run.ledger,
        counts=counts,
        senders=len(run.slots.senders),
        double_dispatches=sum(count - 1 for count in run.slots.dispatches.values()),
        session_s=settings.kafka.session_timeout_ms / 1000,
        engine=engine,
    )
    for surprise in outcome.surprises:
        print(f"surprise: {surprise}")
    for path in outcome.evidence:
        print(f"records of a request with violations: {path}")
    return report.finish()


def main() -> int:
    """Run it in a folder that is kept if a gate does not hold."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws faults, victims and questions (default: 1)")
    parser.add_argument("--minutes", type=float, default=18.0, help="over which the faults are spread (default: 18)")
    parser.add_argument("--users", type=int, default=USERS, help=f"streams at a time (default: {USERS})")
    faults = ",".join(f"{fault}={count}" for fault, count in FULL.items())
    parser.add_argument("--faults", type=counts_of, default=FULL, help=f"how many of each kind (default: {faults})")
    folder = Path(tempfile.mkdtemp(prefix="millrace-chaos-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(bench(parser.parse_args(), folder))
    if code == 0:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
