"""The site in real processes, for tests that start, kill and restart it."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from http import HTTPStatus
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Self

from tests.forks import ForkedProgram, can_fork, start_program
from tests.sites import PYTHON, ROOT, manage

#: Seconds within which a started process must answer, and a stopped one must end; enough for a
#: machine that is busy otherwise.
START_TIMEOUT = 90
STOP_TIMEOUT = 60

#: The commands whose processes are forked; see :mod:`tests.forks`.
FORKED = ("serve", "runserver", "uvicorn", "daphne")


def free_port() -> int:
    """Find a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server of the site on one port, which may be stopped, killed and started again.

    Args:
        directory: directory of its log.
        env: the environment, see :func:`tests.sites.site_environment`.
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
        self._process: subprocess.Popen[bytes] | ForkedProgram | None = None

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
        self._process = self._begin()
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

    def _begin(self) -> subprocess.Popen[bytes] | ForkedProgram:
        line, cwd, env = self._command_line(), self._cwd, self.env
        is_own = self.python == PYTHON and cwd == ROOT
        if is_own and self._command in FORKED and can_fork(env):
            return ForkedProgram(line, cwd=cwd, env=env, output=self._log_path)
        return start_program([self.python, *line], cwd=cwd, env=env, output=self._log_path)

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
