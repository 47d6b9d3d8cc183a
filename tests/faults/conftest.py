"""The stage that all tests share, and the table at the end of the test run."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import Verdict
from tests.faults.stage import Run, Stage
from tests.servers import Site

#: Rounds of a publisher; many more in ``make soak``.
ROUNDS = 1000 if os.environ.get("SOAK") else 40

_verdicts: list[tuple[str, int, Verdict]] = []

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
        name = request.node.name.removeprefix("test_").replace("_", " ")
        _verdicts.append((name, run.faults, verdict))
        assert verdict.is_clean, f"{verdict}\n{run.describe_missing()}"
        assert [client.violations for client in run.clients if client.violations] == []
        assert [client.unrecovered for client in run.clients if client.unrecovered] == []
        assert run.stage.place.tracebacks() == ""

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _verdicts:
        return
    terminalreporter.section("faults")
    line = "{:<58} {:>8} {:>5} {:>13} {:>5} {:>11} {:>11} {:>11} {:>8}"
    counts = ("lost", "duplicated", "misordered", "unexpected")
    heads = ("injected", "sent", "delivered", *counts, "delay")
    terminalreporter.line(line.format("fault", *heads))
    for name, faults, verdict in _verdicts:
        injected = faults or "all"  # the fault lasts for the whole run
        sent, *found, delay, _ = verdict
        figures = (injected, sent, verdict.delivered, *found, f"{delay:.1f} s")
        terminalreporter.line(line.format(name[:58], *figures))
