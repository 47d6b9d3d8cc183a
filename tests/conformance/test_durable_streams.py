"""The conformance suite of Durable Streams, unmodified, against the read path of a real server.

The suite writes over HTTP, which is not offered: :mod:`tests.conformance.writes` publishes instead.
What the suite cannot pass is listed here by name, each with the reason. A failure that is not
listed fails, and so does a listed test that passes.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.js.test_modules import find_node
from tests.servers import Server
from tests.sites import ROOT, Site

pytestmark = pytest.mark.integration

VITEST = ROOT / "node_modules" / "vitest" / "vitest.mjs"
SUITE = ROOT / "node_modules" / "@durable-streams" / "server-conformance-tests"

#: Seconds of one test of the suite, and of all of them, on a busy machine.
TEST_TIMEOUT = 60
TIMEOUT = 500

#: Groups that do not run, because they concern what is not offered.
LEFT_OUT = {
    "TTL": "no stream ends at a time that its writer has set",
    "Idempotent Producer": "writing",
    "Stream Closure": "no stream is ever closed",
    "Fork": "streams are not forked",
    "Reserved subscription APIs": "clients subscribe over sockets",
    "Property-Based Tests (fast-check) > Sequence Ordering": "writing",
    "Property-Based Tests (fast-check) > Concurrent Writer": "writing",
    # Messages are JSON. The bytes would be those of the stand-in, which holds them in Base64.
    "Property-Based Tests (fast-check) > Byte-Exactness": "no stream holds bytes",
    "Property-Based Tests (fast-check) > State Hash": "no stream holds bytes",
}

#: Tests that fail, by the reason.
EXPECTED_FAILURES = {
    "streams are not deleted by clients": {
        "Basic Stream Operations > should delete a stream",
        "Basic Stream Operations > should properly isolate recreated stream after delete",
        "HTTP Protocol > should return 404 on DELETE non-existent stream",
        "HTTP Protocol > should return 204 on successful DELETE",
    },
    "Stream-Seq is for writers": {
        "Append Operations > should enforce sequence ordering with seq",
        "HTTP Protocol > should enforce sequence ordering",
        'HTTP Protocol > should enforce lexicographic seq ordering ("2" then "10" rejects)',
        "HTTP Protocol > should reject duplicate seq values",
        "Protocol Edge Cases > should enforce case-sensitive seq ordering",
    },
    "these are answers to writes, which the stand-in gives": {
        "HTTP Protocol > should return 404 on POST to non-existent stream",
        "Browser Security Headers > "
        "should include X-Content-Type-Options: nosniff on PUT responses",
        "Browser Security Headers > "
        "should include X-Content-Type-Options: nosniff on POST responses",
    },
    "a channel need not be created before it is read, so every name of a namespace exists": {
        "Browser Security Headers > should include security headers on error responses",
        "HEAD Metadata > should return 404 for non-existent stream",
        "Offset Validation and Resumability > "
        "should return 404 for offset=now on non-existent stream",
        "Offset Validation and Resumability > "
        "should return 404 for offset=now with long-poll on non-existent stream",
        "Offset Validation and Resumability > "
        "should return 404 for offset=now with SSE on non-existent stream",
    },
    "streams have no Stream-TTL": {
        "HEAD Metadata Edge Cases > should return TTL metadata if configured",
    },
    "no stream holds bytes, so none is sent in Base64": {
        "SSE Mode > base64 SSE catch-up pairs every data event with a control event",
        "SSE Mode > should auto-detect binary streams and return base64 encoded data in SSE mode",
        "SSE Mode > should include Stream-SSE-Data-Encoding header for binary streams",
        "SSE Mode > should handle large binary payload with auto-detected base64 encoding",
        "SSE Mode > "
        "should handle binary data with special bytes using auto-detected base64 encoding",
        "SSE Mode > should auto-detect base64 encoding for application/x-protobuf streams",
        "SSE Mode > should auto-detect base64 encoding for image/png streams",
    },
}


class Outcome(NamedTuple):
    """What became of one test of the suite: ``passed``, ``failed`` or ``skipped``, and why."""

    status: str
    why: str


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("conformance")
    env = site.environment(directory, DJANGO_SETTINGS_MODULE="tests.conformance.settings")
    server = Server(directory, env).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def outcomes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Run the suite; what became of each test, by its name."""
    missing = [path.name for path in (VITEST, SUITE) if not path.exists()]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"NOT RUN: the suite of Durable Streams, because there is no {missing[0]}")
    return run(server, tmp_path_factory.mktemp("report") / "report.json")


def run(server: Server, report: Path) -> dict[str, Outcome]:
    left_out = "|".join(re.escape(group.replace(" > ", " ")) for group in LEFT_OUT)
    command = [
        find_node(),
        str(VITEST),
        "run",
        *("--root", str(ROOT), "--dir", "tests/conformance"),
        *("--reporter", "json", "--outputFile", str(report)),
        *("--testTimeout", str(TEST_TIMEOUT * 1000)),
        *("--testNamePattern", f"^(?!{left_out})"),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "SERVER_URL": server.url},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    [found] = json.loads(report.read_text())["testResults"]
    return {
        " > ".join([*test["ancestorTitles"], test["title"]]): Outcome(
            test["status"], "".join(test["failureMessages"])[:500]
        )
        for test in found["assertionResults"]
    }


def names(outcomes: dict[str, Outcome], status: str) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome.status == status}


def test_the_suite_passes_but_for_the_listed_tests(
    outcomes: dict[str, Outcome], server: Server
) -> None:
    expected = set().union(*EXPECTED_FAILURES.values())
    failed = names(outcomes, "failed")
    unlisted = {name: outcomes[name].why for name in failed - expected}
    assert unlisted == {}
    assert expected - failed == set(), "these are listed, but pass or do not exist"
    assert "Traceback" not in server.log, server.log
    assert "ERROR" not in server.log, server.log


def test_only_the_listed_groups_are_left_out(outcomes: dict[str, Outcome]) -> None:
    skipped = names(outcomes, "skipped")
    assert {name for name in skipped if not name.startswith(tuple(LEFT_OUT))} == set()
    for group in LEFT_OUT:
        assert any(name.startswith(group) for name in skipped), f"there is no group {group}"
    assert outcomes.keys() == skipped | names(outcomes, "passed") | names(outcomes, "failed")


def test_the_documentation_says_how_many_tests_pass(outcomes: dict[str, Outcome]) -> None:
    passed, failed = len(names(outcomes, "passed")), len(names(outcomes, "failed"))
    page = (ROOT / "docs" / "durable-streams.md").read_text()
    assert f"{passed} of these {passed + failed} tests pass" in page
    assert f"has {len(outcomes)} tests" in page
