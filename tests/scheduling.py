"""How ``make test`` spreads tests over processes (pytest-xdist), and what these share."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Directories whose tests mostly wait for processes. They come first, so that the quick tests fill
#: the gaps at the end.
LONG = ("faults", "sdk", "simulation", "integration", "browser")


class Schedule(LoadScopeScheduling):
    """The tests of a module run in one process, as they may share servers."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        if module == "tests/integration/test_postgres.py":
            return nodeid  # each test starts a long run
        return "tests/faults" if module.startswith("tests/faults/") else module  # one stage


def order(item: pytest.Item) -> int:
    """The place of a test's directory in the order of the run."""
    parts = item.path.parts
    return next((place for place, name in enumerate(LONG) if name in parts), len(LONG))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory that one of the processes of this run of tests has filled.

    Args:
        factory: knows the temporary directory of this process.
        name: the directory's name.
        make: fills it.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory, is_made = base / name, base / f"{name} is made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            make(directory)
            is_made.touch()
    return directory
