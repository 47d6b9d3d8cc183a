"""Starts the server as the suites expect it, and runs one of them.

A suite runs as it comes, except for the address of the server: ``localhost:8000`` becomes a free
port. Tests that are not meant to pass run apart, with a short time limit: some of them wait for
ever.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tests.sdk.driver import compile_go, run, tool
from tests.sdk.suites.expectations import Expectations, expectations
from tests.servers import Server
from tests.sites import ROOT, Site, manage

#: Where the suites expect the server.
ADDRESS = "localhost:8000"

#: Seconds for a whole suite, and for a test that is not meant to pass.
TIME_LIMIT = 300
REFUSED_TIME_LIMIT = 10

#: Whether each test has passed, by name.
Outcomes = dict[str, bool]


@contextmanager
def server_for(suite: str, site: Site, directory: Path) -> Iterator[Server]:
    """Start the server for a suite; see ``settings.py``."""
    env = site.environment(
        directory,
        DJANGO_SETTINGS_MODULE="tests.sdk.suites.settings",
        SUITE=suite,
        GUEST_SESSIONS="",
        GUEST_KEY="",
    )
    job = "from tests.sdk.suites.guests import make_guests; make_guests()"
    made = manage("shell", "--verbosity", "0", "--command", job, env=env)
    server = Server(directory, {**env, **json.loads(made.stdout.splitlines()[-1])})
    try:
        yield server.start()
    finally:
        server.stop()


def run_suite(suite: str, source: Path, server: Server, directory: Path) -> Outcomes:
    """Run a suite against a server.

    Args:
        suite: ``js``, ``go`` or ``python``.
        source: the sources of the SDK with its suite, which are not changed.
        directory: an empty directory for the copy that runs.
    """
    copy = directory / "suite"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".git", "node_modules"))
    _make_writable(copy)
    for file in copy.rglob("*"):
        if file.suffix in {".go", ".py", ".ts"} and ADDRESS in (text := file.read_text()):
            file.write_text(text.replace(ADDRESS, f"localhost:{server.port}"))
    if (source / "node_modules").exists():
        (copy / "node_modules").symlink_to(source / "node_modules")
    return RUNNERS[suite](copy, expectations(suite))


def _make_writable(directory: Path) -> None:
    """Go keeps its modules read-only."""
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


# Go


def fetch_go() -> Path:
    """Return the directory of the Go SDK as the Go module proxy has it, with its tests."""
    module = f"github.com/centrifugal/centrifuge-go@{expectations('go').version}"
    done = subprocess.run(
        [tool("go"), "mod", "download", "-json", module],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT,
    )
    found = json.loads(done.stdout)
    assert "Dir" in found, found
    return Path(found["Dir"])


def _run_go(suite: Path, expected: Expectations) -> Outcomes:
    compile_go("test", "-c", "-o", "suite.test", ".", directory=suite)
    names = "|".join(expected.refused)
    lists = [
        [f"-test.timeout={TIME_LIMIT}s", f"-test.skip=^({names})$"],
        *(
            [f"-test.timeout={REFUSED_TIME_LIMIT}s", f"-test.run=^{name}$"]
            for name in expected.refused
        ),
    ]
    outputs = _run_together([["./suite.test", "-test.v", *options] for options in lists], suite)
    started = re.findall(r"^=== RUN +([^/\s]+)$", outputs, re.MULTILINE)
    passed = re.findall(r"^--- PASS: (\S+)", outputs, re.MULTILINE)
    return {name: name in passed for name in started}


# Python


def fetch_python() -> Path:
    """Return the directory of the Python SDK as PyPI has it, with its tests."""
    name = f"centrifuge_python-{version('centrifuge-python')}"
    directory = ROOT / "build" / "suites"
    archive = directory / f"{name}.tar.gz"
    if not archive.exists():
        package = f"centrifuge-python=={version('centrifuge-python')}"
        options = ["--no-deps", "--no-binary", ":all:", "--dest", str(directory)]
        run([sys.executable, "-m", "pip", "download", *options, package], ROOT)
    with tarfile.open(archive) as opened:
        opened.extractall(directory, filter="data")
    return directory / name


def _run_python(suite: Path, expected: Expectations) -> Outcomes:
    skip = [part for name in expected.refused for part in ("--deselect", name)]
    reports = [suite / "passing.xml", suite / "refused.xml"]
    lists = [
        [f"--junitxml={reports[0]}", f"--timeout={TIME_LIMIT}", *skip, "tests/test_client.py"],
        [f"--junitxml={reports[1]}", f"--timeout={REFUSED_TIME_LIMIT}", *expected.refused],
    ]
    # Without the plugins and settings of this project. Two functions are named like tests.
    options = ["-c", os.devnull, "--rootdir", ".", "-o", "python_functions=none"]
    plugins = ["-p", "no:cacheprovider", "-p", "xdist", "-p", "pytest_timeout", "-n", "3"]
    command = [sys.executable, "-m", "pytest", *options, *plugins]
    _run_together([[*command, *arguments] for arguments in lists], suite)
    outcomes: Outcomes = {}
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            # Without a class it is what went wrong beside the tests, such as a crashed process.
            *module, group = case.attrib.get("classname", "").split(".")
            # A subtest is a case of its own; its name begins with that of its test.
            name = f"{'/'.join(module)}.py::{group}::{case.attrib['name'].split()[0]}"
            has_passed = case.find("failure") is None and case.find("error") is None
            outcomes[name] = outcomes.get(name, True) and has_passed
    return outcomes


# JavaScript


def _run_js(suite: Path, expected: Expectations) -> Outcomes:
    outcomes: Outcomes = {}
    files = sorted((suite / "src").glob("*.test.ts"))
    # One after another: what a failed test leaves behind fails those that follow in its process.
    for file in (file for file in files if file.name not in expected.files):
        report = suite / "report.json"
        jest = [tool("npx"), "jest", "--json", f"--outputFile={report}", "--forceExit"]
        _run_together([[*jest, f"src/{file.name}"]], suite)
        for case in json.loads(report.read_text())["testResults"][0]["assertionResults"]:
            if case["status"] in {"passed", "failed"}:
                outcomes[f"{file.name}: {case['fullName']}"] = case["status"] == "passed"
    return outcomes


RUNNERS: Mapping[str, Callable[[Path, Expectations], Outcomes]] = {
    "go": _run_go,
    "python": _run_python,
    "js": _run_js,
}


def _run_together(commands: Iterable[Sequence[str]], directory: Path) -> str:
    """Run commands at the same time, and return what they all print, one after another."""
    # What this run of tests tells its own processes is not for those of the suite.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    processes = [
        subprocess.Popen(
            command,
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    try:
        return "\n".join(process.communicate(timeout=TIME_LIMIT)[0] for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()  # closes the pipe, too
