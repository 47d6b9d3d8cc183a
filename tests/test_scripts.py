"""What ``make`` says on machines that lack something: one sentence, and a failure."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sites import ROOT

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

#: In place of uv: makes environments whose pytest ends with this code.
UV = """#!/bin/sh
[ "$1" = venv ] || exit 0
for directory; do :; done
mkdir -p "$directory/bin"
printf '#!/bin/sh\\ncase "$*" in *pytest*) exit {} ;; esac\\n' >"$directory/bin/python"
chmod +x "$directory/bin/python"
"""

#: Installs the programs that it knows.
APT = """#!/bin/sh
[ "$1" = install ] || exit 0
for package; do :; done
case " {} " in *" $package "*) ;; *) exit 100 ;; esac
printf '#!/bin/sh\\n' >"{}/$package"
chmod +x "{}/$package"
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
    program.unlink(missing_ok=True)  # a link leads to the program of the real machine
    program.write_text(script)
    program.chmod(0o755)


def run(machine: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=machine / "checkout",
        env={"PATH": str(machine / "bin"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(machine: Path, *command: str) -> str:
    """Run ``command`` and return the line that it printed."""
    result = run(machine, *command)
    assert result.returncode == 0, result.stderr
    return result.stdout.removesuffix("\n")


def complaint(machine: Path, *command: str, **variables: str) -> str:
    """Run ``command``, which must fail, and return what it printed, less make's closing line."""
    result = run(machine, *command, **variables)
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


@pytest.mark.parametrize("code", [1, 3, 5])
def test_a_version_whose_tests_fail_was_run(machine: Path, code: int) -> None:
    """Whatever pytest ends with: 3 stands for an error of its own."""
    for tool in ("sed", "chmod"):
        (machine / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    install(machine, "python3.13", "#!/bin/sh\n")
    (machine / "checkout" / ".venv" / "bin").mkdir(parents=True)
    install(machine, "../checkout/.venv/bin/uv", UV.format(code))
    said = complaint(machine, "scripts/matrix", "3.13/5.2", "3.99/5.2")
    assert "== Python 3.13, Django 5.2" in said
    assert (
        said.splitlines()[-1]
        == "NOT RUN: Python 3.99, with Django 5.2 (this machine has no such Python)"
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


def test_chromium_without_windows_is_preferred_to_one_with_them(machine: Path) -> None:
    for name in ("chromium", "chromium-headless-shell"):
        install(machine, name, "#!/bin/sh\n")
    assert answer(machine, "scripts/chromium") == str(machine / "bin/chromium-headless-shell")


@pytest.mark.parametrize(
    ("known", "there", "found"),
    [
        ("chromium-headless-shell chromium", "chromium", "chromium-headless-shell"),
        ("chromium-headless-shell chromium", "", "chromium-headless-shell"),
        ("chromium", "google-chrome", "google-chrome"),
        ("chromium", "", "chromium"),
    ],
)
def test_chromium_is_installed(machine: Path, known: str, there: str, found: str) -> None:
    if there:
        install(machine, there, "#!/bin/sh\n")
    (machine / "bin" / "chmod").symlink_to(shutil.which("chmod") or "chmod")
    install(machine, "apt-get", APT.format(known, machine / "bin", machine / "bin"))
    install(machine, "id", "#!/bin/sh\necho 0\n")
    assert answer(machine, "scripts/chromium") == str(machine / "bin" / found)


def test_no_nginx(machine: Path) -> None:
    assert complaint(machine, "scripts/nginx", SBIN="") == (
        "make: the tests need nginx; install it (apt-get install nginx-light) or set NGINX."
    )


def test_nginx_that_does_not_start(machine: Path) -> None:
    assert complaint(machine, "scripts/nginx", NGINX="/nowhere/nginx") == (
        "make: NGINX=/nowhere/nginx does not start."
    )


def test_figures_count_bodies_without_docstrings_and_name_what_is_long(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "migrations").mkdir(parents=True)
    (package / "migrations" / "0001.py").write_text("pass\n" * 500)
    (package / "long.py").write_text("pass\n" * 301)
    (package / "short.py").write_text(
        'def f():\n    """Say.\n\n    More.\n    """\n    a = 1\n\n    return a\n\n\n'
        "def g():\n    @cache\n    def h(): ...\n"
    )
    (package / "__init__.py").touch()
    report = runpy.run_path(str(ROOT / "scripts" / "figures"))["report"]
    assert list(report(tmp_path, "package")) == [
        "package: 2 modules, 3 functions",
        "  lines of a module: median 157, longest 301",
        "  modules above 300 lines: 1",
        "     301 package/long.py",
        "  lines of a function's body: median 2, 95th percentile 3, longest 3",
        "  longest functions:",
        "       3 package/short.py:1 f",
        "       2 package/short.py:11 g",
        "       1 package/short.py:13 h",
    ]


def test_figures_are_printed_for_the_app_and_the_site() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "figures"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "notifications: " in ran.stdout
    assert "pushsite: " in ran.stdout
    assert ran.stderr == ""


def test_figures_of_a_directory_that_is_not_there_fail_with_a_sentence() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "figures", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (2, "figures: no such directory: nowhere\n")
