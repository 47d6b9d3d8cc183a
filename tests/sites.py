"""What the processes of the site need in tests: the project, an environment, and a database."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.forks import can_fork, run_script

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(sys.executable)

#: Seconds that a management command may take.
MANAGE_TIMEOUT = 120

#: The settings of a :class:`Site`, unless a test brings its own.
SETTINGS = "tests.site_settings"

#: The environment variables of the developer that a test's processes inherit.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")


def site_environment(directory: Path, **changes: str) -> dict[str, str]:
    """Build the environment of a production site with its data in ``directory``.

    Args:
        directory: directory of the SQLite database.
        changes: variables to add or replace, such as ``REDIS_URL``.
    """
    return {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "DATA_DIR": str(directory),
        "SECRET_KEY": "only-for-tests-and-long-enough-to-pass-the-checks-of-django",
        "COOKIE_SECURE": "0",
        "PYTHONUNBUFFERED": "1",
        **changes,
    }


def manage(
    *args: str,
    env: dict[str, str],
    check: bool = True,
    python: Path = PYTHON,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run the ``manage.py`` of the project in ``cwd``.

    Args:
        args: the command and its arguments.
        env: the environment.
        check: fail if the command fails.
        python: the interpreter.
        cwd: the project's directory; this project by default.

    Raises:
        AssertionError: the command failed and ``check`` is true.
    """
    if python == PYTHON and cwd == ROOT and can_fork(env):
        result = run_script(ROOT / "manage.py", args, env, MANAGE_TIMEOUT)
    else:
        result = subprocess.run(
            [python, "manage.py", *args],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            timeout=MANAGE_TIMEOUT,
            check=False,
        )
    assert not check or result.returncode == 0, f"manage.py {args}: {result.stdout}{result.stderr}"
    return result


def make_site(directory: Path) -> None:
    """Make what a :class:`Site` copies: a database with the demo accounts, and static files."""
    template = directory / "template"
    template.mkdir()
    env = site_environment(template, DEBUG="1", DJANGO_SETTINGS_MODULE=SETTINGS)
    manage("migrate", "--verbosity", "0", env=env)
    manage("createdemo", env=env)
    env = site_environment(template, STATIC_ROOT=str(directory / "static"))
    manage("collectstatic", "--noinput", "--verbosity", "0", env=env)


class Site:
    """Prepares databases for servers.

    Args:
        directory: what :func:`make_site` has filled.
    """

    def __init__(self, directory: Path) -> None:
        self.static_root = directory / "static"
        self._template = directory / "template"

    def environment(self, directory: Path, **changes: str) -> dict[str, str]:
        """Build the environment of a site.

        Args:
            directory: directory of the SQLite database, which has the demo accounts. It is copied
                there if it is missing.
            changes: variables to add or replace. The database of a ``DATABASE_URL`` is migrated,
                and stays empty.
        """
        own = {"STATIC_ROOT": str(self.static_root), "DJANGO_SETTINGS_MODULE": SETTINGS}
        env = site_environment(directory, **{**own, **changes})
        if "DATABASE_URL" in changes:
            manage("migrate", "--verbosity", "0", env=env)
        elif not (directory / "db.sqlite3").exists():
            for part in self._template.glob("db.sqlite3*"):
                shutil.copy(part, directory)
        return env
