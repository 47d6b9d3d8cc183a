"""The examples of docs/testing.md are tests of a host project, and pass there."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.postgres import running_postgres
from tests.sites import ROOT
from tests.wheels import borrowing_environment, plain_environment

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

PROJECT = Path(__file__).parent / "shop"

#: A block of code whose first line names the file that it belongs to.
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)

PYTEST = """
[pytest]
DJANGO_SETTINGS_MODULE = mysite.settings
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


class Project(NamedTuple):
    """A host project, and the Python that runs it."""

    directory: Path
    python: Path


def examples() -> dict[str, str]:
    """The files that the page shows, block by block."""
    page = (ROOT / "docs" / "testing.md").read_text()
    files: dict[str, str] = defaultdict(str)
    for name, code in BLOCK.findall(page):
        files[name] += code
    assert len(BLOCK.findall(page)) == page.count("```python")
    return dict(files)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the app is installed."""
    return borrowing_environment(tmp_path_factory.mktemp("host") / "venv", wheel)


@pytest.fixture
def project(python: Path, tmp_path: Path) -> Project:
    """A copy of the host project with the tests that the page shows."""
    directory = tmp_path / "project"
    shutil.copytree(PROJECT, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "pytest.ini").write_text(PYTEST)
    for name, code in examples().items():
        (directory / name).write_text(code)
    return Project(directory, python)


def run(project: Project, *command: str, **variables: str) -> str:
    """Run a command of the host project, which must succeed, and return all that it prints."""
    result = subprocess.run(
        [project.python, *command],
        cwd=project.directory,
        env=plain_environment(PYTHONWARNINGS="error", **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert "Traceback" not in output
    return output


def count(code: str) -> int:
    return len(re.findall(r"^ *(?:async )?def test_", code, re.MULTILINE))


def test_the_tests_of_a_host_pass_in_parallel_processes(project: Project) -> None:
    output = run(project, "manage.py", "test", "--parallel", "2")
    assert f"Ran {count(examples()['orders/tests.py'])} tests" in output
    assert "Cloning test database" in output


def test_the_tests_of_a_host_pass_with_pytest_and_xdist(project: Project) -> None:
    output = run(project, "-m", "pytest", "-n", "2", "test_orders.py", "orders/tests.py")
    assert f"{sum(map(count, examples().values()))} passed" in output


def test_the_tests_of_a_host_pass_on_postgresql(project: Project) -> None:
    with running_postgres() as url:
        run(project, "manage.py", "test", "--parallel", "2", DATABASE_URL=url)
        run(project, "-m", "pytest", "test_orders.py", DATABASE_URL=url)


def test_pytest_loads_the_fixtures_only_where_they_are_asked_for(project: Project) -> None:
    (project.directory / "conftest.py").write_text("")
    without = run(project, "-m", "pytest", "--fixtures", "-q")
    assert "django_db_setup" in without
    assert "captured_notifications" not in without
    # Loaded in this way, before Django's apps are.
    chosen = run(project, "-m", "pytest", "-p", "notifications.testing.pytest", "--fixtures", "-q")
    assert "captured_notifications" in chosen


def test_the_app_does_not_import_the_helpers(project: Project) -> None:
    code = """
import sys
import mysite.asgi, mysite.urls
from django.core.management import call_command
from notifications.server import FrameProtocol
call_command("check", databases=["default"])
unwanted = ("notifications.testing", "_pytest")
print("imported:", sorted(name for name in sys.modules if name.startswith(unwanted)))
"""
    output = run(project, "-c", code, DJANGO_SETTINGS_MODULE="mysite.settings")
    assert "imported: []\n" in output
