"""The stage that all tests share, and the judgement of their runs."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.stage import Run, Stage
from tests.faults.table import row
from tests.sites import Site

#: Rounds of a publisher; many more in ``make soak``.
ROUNDS = 1000 if os.environ.get("SOAK") else 40

Survived = Callable[[Run], None]


@pytest.fixture(scope="session")
def stage(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(site, tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> Survived:
    """Return a function that judges a run, adds it to the table, and asserts that it is clean."""

    def check(run: Run) -> None:
        verdict = run.verdict()
        request.node.user_properties.append(row(run.faults, verdict))
        assert verdict.is_clean, f"{verdict}\n{run.describe_missing()}"
        assert [client.violations for client in run.clients if client.violations] == []
        assert [client.unrecovered for client in run.clients if client.unrecovered] == []
        assert run.stage.place.tracebacks() == ""

    return check
