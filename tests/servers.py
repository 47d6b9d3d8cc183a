"""The site in real processes, for tests that start, kill and restart it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from http import HTTPStatus
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Self

from tests.forks import run_script

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(sys.executable)

#: Seconds within which a started process must answer, and a stopped one must end; enough for a
#: machine that is busy otherwise.
START_TIMEOUT = 90
STOP_TIMEOUT = 60

#: Seconds that a management command may take.
MANAGE_TIMEOUT = 120

#: The settings of a :class:`Site`, unless a test brings its own.
SETTINGS = "tests.site_settings"

#: The environment variables of the developer that a test's processes inherit.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")


def free_port() -> int:
    """Find a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
    is_own = python == PYTHON and cwd == ROOT
    if is_own and all(name == "PYTHONUNBUFFERED" for name in env if name.startswith("PYTHON")):
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


class Server:
    """A server of the site on one port, which may be stopped, killed and started again.

    Args:
        directory: directory of its log.
        env: the environment, see :func:`site_environment`.
        command: the management command ``serve``, ``runserver`` (without its reloader) or
            ``reloading runserver``; or another server as anybody may start it: ``uvicorn``
            (without ``notifications.server``), ``daphne``, ``hypercorn``, ``granian`` or
            ``gunicorn``.
        args: further arguments of the command.
        application: what such another server imports.
        python: the interpreter.
        cwd: the project's directory; this project by default.
        login_path: the page on which users log in.
    """

    def __init__(
        self,
        directory: Path,
        env: dict[str, str],
        *,
        command: str = "serve",
        args: tuple[str, ...] = (),
        application: str = "pushsite.asgi:application",
        python: Path = PYTHON,
        cwd: Path = ROOT,
        login_path: str = "/accounts/login/",
    ) -> None:
        self.port = free_port()
        self._login_path = login_path
        self.python = python
        self._cwd = cwd
        self.env = env
        self._command = command
        self._args = args
        self._application = application
        self._log_path = directory / f"server-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.env.get('SCRIPT_NAME', '')}"

    @property
    def socket_url(self) -> str:
        return f"{self.url.replace('http', 'ws', 1)}/connection/websocket"

    @property
    def log(self) -> str:
        """The server's output so far, over all its starts."""
        return self._log_path.read_text() if self._log_path.exists() else ""

    @property
    def resident(self) -> int:
        """Bytes in memory, of the process and its workers (proc(5))."""
        pages = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # a process that has ended meanwhile
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.pid:
                    pages += int(fields[21])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def manage(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a management command against the same database."""
        return manage(*args, env=self.env, check=check, python=self.python, cwd=self._cwd)

    def start(self, *, wait: bool = True) -> Self:
        assert self._process is None, "the server is running already"
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, *self._command_line()],
                cwd=self._cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A new process group, so that kill() reaches the workers too.
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"the server ended at once:\n{self.log}"
            if self._answers():
                return
            time.sleep(0.05)
        raise AssertionError(f"the server did not answer in {START_TIMEOUT} s:\n{self.log}")

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Stop the server and return its exit code; 0 if it is not running.

        Raises:
            AssertionError: it did not stop within ``STOP_TIMEOUT`` and was killed.
        """
        if self._process is None:
            return 0
        self._process.send_signal(sig)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code of a server that is ending; kill it if it does not end."""
        assert self._process is not None, "the server is not running"
        try:
            return self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._kill_group()
            raise AssertionError(f"the server did not stop:\n{self.log}") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """Kill the server and its workers with SIGKILL."""
        if self._process is None:
            return
        self._kill_group()
        self._process = None

    def login(self, username: str, password: str = "") -> str:
        """Log a user in and return the value for a ``Cookie`` header.

        Args:
            username: name of a demo account or of another user.
            password: the password; by default the name, as for demo accounts.
        """
        jar = CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = f"{self.url}{self._login_path}"
        form = opener.open(page, timeout=10).read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert token is not None, f"no login form:\n{form}"
        fields = {
            "csrfmiddlewaretoken": token[1],
            "username": username,
            "password": password or username,
        }
        opener.open(page, urllib.parse.urlencode(fields).encode(), timeout=10).close()
        cookies = {cookie.name: cookie.value for cookie in jar}
        assert "sessionid" in cookies, f"{username} could not log in"
        return "; ".join(f"{name}={value}" for name, value in cookies.items())

    def _command_line(self) -> list[str]:
        host, port = "127.0.0.1", str(self.port)
        address = f"{host}:{port}"
        match self._command:
            case "runserver":
                line = ["manage.py", "runserver", "--noreload", address]
            case "reloading runserver":
                line = ["manage.py", "runserver", address]
            case "uvicorn":  # without our extension
                line = ["-m", "uvicorn", "--ws", "websockets-sansio", "--port", port]
            case "daphne":
                line = ["-m", "daphne", "-b", host, "-p", port]
            case "hypercorn":
                line = ["-m", "hypercorn", "--bind", address]
            case "granian":
                line = ["-m", "granian", "--interface", "asgi", "--port", port]
            case "gunicorn":
                worker = ("--worker-class", "uvicorn_worker.UvicornWorker")
                line = ["-m", "gunicorn", "--no-control-socket", *worker, "--bind", address]
            case command:
                line = ["manage.py", command, "--port", port]
        application = [self._application] if line[0] == "-m" else []
        return [*line, *self._args, *application]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self._login_path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return True  # a project without this page
            raise AssertionError(f"the server answers {error.code}:\n{self.log}") from error
        except OSError:
            return False

    def _kill_group(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


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
