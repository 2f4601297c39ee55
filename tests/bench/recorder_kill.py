"""`kill -9` of the recorder at a hundred random moments under load: `python -m tests.bench.recorder_kill [--kills N]`.

Nothing may be lost, nothing may be there twice, and every projection has to agree with its table.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.report import Report, progress
from tests.bench.trace_log import trace_topics
from tests.integration.sinks.killing import kill_again_and_again

KILLS: Final = 100


def _tell(number: int, rows: int) -> None:
    progress(f"kill {number}, {rows:,} rows sent")


async def bench(kills: int, seed: int, folder: Path) -> int:
    """The whole benchmark; the exit code."""
    async with trace_topics(folder, partitions=2) as topics:
        sent, found = await kill_again_and_again(topics, folder, kills=kills, seed=seed, on_kill=_tell)
    report = Report("recorder-kill")
    report.at_least("kills", kills, KILLS)
    report.figure("rows_sent", sum(sent.values()))
    missing = sum(max(count - found.rows[table], 0) for table, count in sent.items())
    report.at_most("rows lost", missing, 0)
    report.at_most("rows doubled", sum(found.doubled.values()), 0)
    report.at_most("projections that differ from their table", len(found.differing), 0)
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="how often (default: %(default)s; fewer do not pass)")
    parser.add_argument("--seed", type=int, default=1, help="of load and moments (default: 1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-recorder-kill-") as folder:
        sys.exit(asyncio.run(bench(given.kills, given.seed, Path(folder))))
