"""``python -m tests.sdk.suites js --source DIRECTORY``: run a suite, and compare the outcome."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.sdk.suites.expectations import expectations
from tests.sdk.suites.running import RUNNERS, fetch_go, fetch_python, run_suite, server_for
from tests.sites import Site, make_site

FETCH = {"go": fetch_go, "python": fetch_python}


def main() -> int:
    """Run the suite; return 1 if its outcome is not the one that is expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.sdk.suites", description=__doc__)
    parser.add_argument("suite", choices=sorted(RUNNERS))
    parser.add_argument("--source", type=Path, help="the sources of the SDK")
    options = parser.parse_args()
    if options.source is None and options.suite not in FETCH:
        parser.error(f"the suite {options.suite} needs --source")
    source = options.source or FETCH[options.suite]()
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        prepared = directory / "site"
        prepared.mkdir()
        make_site(prepared)
        with server_for(options.suite, Site(prepared), directory) as server:
            outcomes = run_suite(options.suite, source.resolve(), server, directory)
    failed = sorted(name for name, passed in outcomes.items() if not passed)
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} tests passed; these failed:", failed)
    problems = expectations(options.suite).problems(outcomes)
    if problems:
        say("This is not as expected:", problems)
    return 1 if problems else 0


def say(title: str, lines: Sequence[str]) -> None:
    """Write a title and a list below it."""
    sys.stdout.write("\n  ".join([title, *lines]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
