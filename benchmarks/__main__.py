"""``python -m benchmarks``: all servers in one run, on one machine, with one client.

The servers stay on one processor, the client on another. Times vary between runs on shared
machines; ratios within a run vary little.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import uvloop

from . import herd, processes, report
from .run import FULL, QUICK, Run

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


def main(full: bool) -> int:
    """Run the benchmarks, print and store the results, and return the exit code."""
    plan = FULL if full else QUICK
    needed = plan.max_sockets + 1000
    had = herd.raise_open_files(needed)
    if had < needed:
        print(f"{needed} open files are needed and {had} allowed: raise ulimit -n.")
        return 1
    os.sched_setaffinity(0, processes.CLIENT_CPUS)
    began = time.monotonic()
    results = uvloop.run(Run(plan).run_all())
    if len(processes.CPUS) < 2:
        results.remarks.append("servers and client shared one processor: compare CPU, not times")
    report.save(results, RESULTS)
    print(f"\n{report.tables(results)}\n{time.monotonic() - began:.0f} s; kept in {RESULTS}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--full", action="store_true", help="up to 10 000 sockets, ten minutes")
    what.add_argument(
        "--publish",
        action="store_true",
        help="write the last run into the docs instead of measuring",
    )
    options = parser.parse_args()
    if options.publish:
        report.publish(report.load(RESULTS / report.JSON), DOCS)
        sys.exit()
    sys.exit(main(options.full))
