"""What ``make`` says on machines that lack something: one sentence, and a failure."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import ROOT

TOOLS = ("bash", "cat", "cmp", "cp", "dirname", "env", "grep", "id", "make", "mkdir", "rm", "tail")

OLD_PYTHON = """#!/bin/sh
[ "$1" = --version ] && echo Python 3.9.2 && exit
exit 1
"""
#: Debian's python3 without the package python3-venv.
BARE_PYTHON = """#!/bin/sh
case "$2" in
    *ensurepip*) exit 1 ;;
    *print*) echo python3.11-venv ;;
esac
"""
#: Makes environments whose pip fails with the given words.
FAILING_PIP = """#!/bin/sh
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *install*-r*) echo "{}"; exit 1 ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout beside a ``bin`` that holds hardly anything; no Python, no apt-get."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    for name in ("Makefile", "requirements.txt", "requirements-test.txt"):
        shutil.copy(ROOT / name, checkout)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def install(machine: Path, name: str, script: str) -> None:
    program = machine / "bin" / name
    program.write_text(script)
    program.chmod(0o755)


def complaint(machine: Path, *command: str, **variables: str) -> str:
    """Run ``command``, which must fail, and return what it printed, less make's closing line."""
    result = subprocess.run(
        command,
        cwd=machine / "checkout",
        env={"PATH": str(machine / "bin"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    lines = (result.stdout + result.stderr).splitlines()
    return "\n".join(line for line in lines if not line.startswith("make: ***"))


def test_no_python(machine: Path) -> None:
    assert complaint(machine, "make", "run") == (
        "make: Python 3.11 or later is needed, and this machine has no python3."
    )


def test_old_python(machine: Path) -> None:
    install(machine, "python3", OLD_PYTHON)
    assert complaint(machine, "make", "run") == (
        "make: Python 3.11 or later is needed, and this machine has Python 3.9.2."
    )


def test_old_python_beside_a_new_one(machine: Path) -> None:
    install(machine, "python3", OLD_PYTHON)
    install(machine, "python3.12", BARE_PYTHON)
    assert complaint(machine, "make", "run").startswith("make: python3.12 cannot make")


def test_python_without_venv(machine: Path) -> None:
    install(machine, "python3", BARE_PYTHON)
    assert complaint(machine, "make", "test") == (
        "make: python3 cannot make virtual environments; "
        "install what is missing: apt-get install python3.11-venv"
    )


def test_missing_compiler(machine: Path) -> None:
    install(machine, "python3", FAILING_PIP.format("error: command 'gcc' failed: No such file"))
    assert (
        complaint(machine, "make", "run")
        .splitlines()[-1]
        .startswith(
            "make: a package has to be compiled here; install the compiler with: apt-get install"
        )
    )


def test_package_that_cannot_be_had(machine: Path) -> None:
    install(machine, "python3", FAILING_PIP.format("ERROR: No matching distribution for x"))
    assert complaint(machine, "make", "run").splitlines()[-1] == (
        "make: pip could not install requirements.txt: ERROR: No matching distribution for x "
        "(see .venv/install.log)"
    )


def test_port_that_is_no_number(machine: Path) -> None:
    assert complaint(machine, "scripts/run", PORT="web") == (
        "make: PORT must be a number, not 'web'."
    )


def test_no_chromium(machine: Path) -> None:
    assert complaint(machine, "scripts/chromium") == (
        "make: the tests need Chromium; install it (apt-get install chromium) or set CHROMIUM."
    )


def test_chromium_that_does_not_start(machine: Path) -> None:
    assert complaint(machine, "scripts/chromium", CHROMIUM="/nowhere/chromium") == (
        "make: CHROMIUM=/nowhere/chromium does not start."
    )


def test_no_nginx(machine: Path) -> None:
    assert complaint(machine, "scripts/nginx", SBIN="") == (
        "make: the tests need nginx; install it (apt-get install nginx-light) or set NGINX."
    )


def test_nginx_that_does_not_start(machine: Path) -> None:
    assert complaint(machine, "scripts/nginx", NGINX="/nowhere/nginx") == (
        "make: NGINX=/nowhere/nginx does not start."
    )
