"""The table of faults at the end of a run of tests."""

from typing import Any

import pytest

from tests.faults.ledger import Verdict

#: Under this name, the report of a test has its row.
NAME = "fault"


def row(faults: int, verdict: Verdict) -> tuple[str, Any]:
    """A property for the report of a test, which may come from another process.

    Args:
        faults: how many were injected; 0 if one lasted for the whole test.
        verdict: on all devices.
    """
    return NAME, (faults, tuple(verdict))


def write_table(reporter: pytest.TerminalReporter) -> None:
    """Write the rows of all tests that have finished, if there are any."""
    reports = [*reporter.getreports("passed"), *reporter.getreports("failed")]
    rows = [
        (report.location[2].removeprefix("test_").replace("_", " "), *value)
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == NAME
    ]
    if not rows:
        return
    reporter.section("faults")
    line = "{:<58} {:>8} {:>5} {:>13} {:>5} {:>11} {:>11} {:>11} {:>8}"
    counts = ("lost", "duplicated", "misordered", "unexpected")
    reporter.line(line.format("fault", "injected", "sent", "delivered", *counts, "delay"))
    for test, faults, totals in rows:
        verdict = Verdict(*totals)
        sent, *found, delay, _ = verdict
        figures = (faults or "all", sent, verdict.delivered, *found, f"{delay:.1f} s")
        reporter.line(line.format(test[:58], *figures))
