"""A site on django-notifications, and the same site after it: one project, two sets of packages.

The packages of the old site are installed once for an environment, into a directory of their own:
they have the same import name as the app.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import Server
from tests.sites import ROOT, manage

PROJECT = ROOT / "tests" / "integration" / "legacy"
REQUIREMENTS = PROJECT / "requirements.txt"


def old_packages() -> Path:
    """Install what the old site runs on, unless that was done before; return its directory."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    directory = Path(sys.prefix) / f"django-notifications-{digest}"
    if directory.exists():
        return directory
    with tempfile.TemporaryDirectory(dir=sys.prefix) as temporary:
        install(Path(temporary) / "packages", "-r", str(REQUIREMENTS))
        try:
            (Path(temporary) / "packages").rename(directory)
        except OSError:
            if not directory.exists():  # another run has just done the same
                raise
    return directory


def install(directory: Path, *what: str) -> None:
    """Let pip install something and nothing else; from its cache, or from the index."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(directory), *what]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


class Legacy:
    """The site on one database.

    Args:
        directory: for logs, and the database if it is SQLite.
        url: the DATABASE_URL.
        packages: where the app is installed, by default the sources.
        variables: further environment variables.
    """

    def __init__(
        self, directory: Path, url: str, *, packages: Path = ROOT, **variables: str
    ) -> None:
        self.directory = directory
        self.url = url
        self._packages = packages
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._env = {**kept, "DATABASE_URL": url, "PYTHONUNBUFFERED": "1", **variables}

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes once it has changed over."""
        # A wheel has the templates inside of the package.
        return {
            **self._env,
            "PYTHONPATH": str(self._packages),
            "TEMPLATES": str(ROOT / "templates"),
        }

    def before(self, *args: str, script: str = "") -> None:
        """Run ``manage.py`` with django-notifications; ``script`` is a file that a shell reads."""
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", *args],
            cwd=PROJECT,
            env={**self._env, "PYTHONPATH": str(old_packages())},
            input=(PROJECT / script).read_text() if script else "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, f"{args}: {result.stdout}{result.stderr}"
        # What a shell reads may fail and still end well.
        assert "Traceback" not in result.stderr, result.stderr

    def manage(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py`` with this app."""
        return manage(*args, env=self.env, check=check, cwd=PROJECT)

    def ask(self, code: str) -> str:
        """Run code with this app, and return what it prints."""
        imports = "from django.contrib.auth.models import User; from notifications.models import *"
        return self.manage("shell", "-v0", "-c", f"{imports}\n{code}").stdout.strip()

    def server(self) -> Server:
        return Server(self.directory, self.env, cwd=PROJECT)

    def adopt(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.manage("adopt_django_notifications", *args, check=check)


def clone_sqlite(source: Path, directory: Path) -> str:
    """Copy a database, and return the DATABASE_URL of the copy."""
    shutil.copy(source, directory / "db.sqlite3")
    return f"sqlite:///{directory / 'db.sqlite3'}"
