"""The suites that the SDKs have of their own; see docs/clients.md for those that run by hand."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.suites.expectations import Expectations, expectations
from tests.sdk.suites.running import (
    RUNNERS,
    TIME_LIMIT,
    fetch_go,
    fetch_python,
    run_suite,
    server_for,
)
from tests.sdk.test_sdks import or_skip
from tests.sites import ROOT, Site

PAGE = (ROOT / "docs" / "clients.md").read_text()


@pytest.mark.integration
def test_the_go_sdk_passes_its_own_suite_against_this_server(
    site: Site, tmp_path: Path, programs: Any
) -> None:
    or_skip("go", programs["go"])  # compiles the libraries for all builds
    source = or_skip("go", fetch_go)
    with server_for("go", site, tmp_path) as server:
        outcomes = run_suite("go", source, server, tmp_path)
        assert expectations("go").problems(outcomes) == []
    assert "Traceback" not in server.log


@pytest.mark.integration
def test_the_command_of_the_page_runs_the_suite_of_the_python_sdk() -> None:
    source = or_skip("python", fetch_python)
    command = [sys.executable, "-m", "tests.sdk.suites", "python", "--source", str(source)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=2 * TIME_LIMIT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n{expectations('python').passed} of " in "\n" + done.stdout


EXPECTED = Expectations("1", passed=1, refused={"no": "A reason."}, files={})


@pytest.mark.parametrize(
    ("outcomes", "problems"),
    [
        ({"yes": True, "no": False}, []),
        ({"yes": False, "no": False}, ["yes failed", "0 tests passed, and 1 should"]),
        ({"yes": True, "no": True}, ["no passed, but is listed", "2 tests passed, and 1 should"]),
        ({"yes": True}, ["no did not run"]),
        ({"no": False}, ["0 tests passed, and 1 should"]),
    ],
)
def test_every_difference_from_what_is_expected_is_a_problem(
    outcomes: dict[str, bool], problems: list[str]
) -> None:
    assert EXPECTED.problems(outcomes) == problems


@pytest.mark.parametrize("suite", RUNNERS)
def test_the_page_tells_the_counts_and_every_reason(suite: str) -> None:
    expected = expectations(suite)
    total = expected.passed + len(expected.refused)
    row = f"| `{suite}` | {expected.version[:12]} | {expected.passed} of {total} |"
    assert row in PAGE, row
    rows = {
        *(f"{count} | {reason}" for reason, count in Counter(expected.refused.values()).items()),
        *(
            f"{count} files | {reason}"
            for reason, count in Counter(expected.files.values()).items()
        ),
    }
    told = {line for line in PAGE.splitlines() if re.match(rf"\| `{suite}` \| \d+ ", line)}
    assert told == {f"| `{suite}` | {row} |" for row in rows}
