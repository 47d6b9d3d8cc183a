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

from . import herd, processes, quiet, report
from .plans import FULL, MILLION, QUICK, Plan
from .run import Run

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


#: Seconds for which the machine is observed before the run.
LOOK = 2.0


def main(plan: Plan) -> int:
    """Run the benchmarks, print and store the results, and return the exit code."""
    needed = plan.max_sockets + 1000
    had = herd.raise_open_files(needed)
    if had < needed:
        print(f"{needed} open files are needed and {had} allowed: raise ulimit -n.")
        return 1
    os.sched_setaffinity(0, processes.CLIENT_CPUS)
    watch = quiet.Watch()
    time.sleep(LOOK)
    print(f"The machine now: {watch.judge()}.", flush=True)
    began = time.monotonic()
    results = uvloop.run(Run(plan, watch).run_all())
    if len(processes.CPUS) < 2:
        results.remarks.append("servers and client shared one processor: compare CPU, not times")
    report.save(results, RESULTS)
    print(f"\n{report.tables(results)}\n{time.monotonic() - began:.0f} s; kept in {RESULTS}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--full", action="store_true", help="up to 10 000 sockets, 20 minutes")
    what.add_argument(
        "--million", action="store_true", help="the same, and one notify() to a million users"
    )
    what.add_argument(
        "--publish",
        action="store_true",
        help="write the last run into the docs instead of measuring",
    )
    options = parser.parse_args()
    if options.publish:
        report.publish(report.load(RESULTS / report.JSON), DOCS)
        sys.exit()
    sys.exit(main(MILLION if options.million else FULL if options.full else QUICK))
