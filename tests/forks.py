"""Processes of the site that start quickly, because they are forked.

They come from a process that has imported the packages a site needs, but no settings and no code
of this project. Importing these is most of the work of a start.
"""

import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from io import FileIO, TextIOWrapper
from multiprocessing.connection import Connection
from pathlib import Path

#: What the processes import: Django, servers and clients of databases. Nothing here reads settings,
#: or makes an event loop, a thread or a reactor of Twisted, which a fork would share.
PACKAGES = (
    "autobahn.twisted.websocket",
    "channels_redis.core",
    "channels_redis.pubsub",
    "cryptography.x509",
    "django.contrib.admin.utils",
    "django.core.management",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.db.models",
    "django.forms",
    "django.http",
    "django.test",
    "django.urls",
    "google.protobuf.internal.builder",
    "jwt",
    "msgspec",
    "prometheus_client",
    "psycopg",
    "pydantic.root_model",
    "pydantic.types",
    "pytest",  # multiprocessing imports the main module of the parent
    "twisted.internet.asyncioreactor",
    "twisted.internet.ssl",
    "twisted.web.http",
    "uvicorn.lifespan.on",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvloop",
    "whitenoise.middleware",
)

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*PACKAGES])


def start_program(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], output: Path
) -> subprocess.Popen[bytes]:
    """Start a program as an operator does, in a session and a process group of its own.

    Args:
        command: the interpreter, and what :class:`ForkedProgram` takes.
        cwd: the working directory.
        env: the environment variables.
        output: the file to which stdout and stderr are appended.
    """
    with output.open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A new process group, so that a signal to it reaches the workers too.
            start_new_session=True,
        )


class ForkedProgram:
    """A program in a forked process, which is used like a ``subprocess.Popen``.

    Its process leads a session and a process group of its own. It has an environment, a working
    directory and outputs of its own, as if it had been started.

    Args:
        command: what follows the interpreter in a command line: a script in ``cwd`` and its
            arguments, or ``-m``, a module and its arguments.
        cwd: the working directory.
        env: the environment variables; see :func:`can_fork`.
        output: the file to which stdout and stderr are appended.
    """

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path
    ) -> None:
        # The process closes its end when its group exists, which signals are sent to.
        ours, theirs = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(
            target=_main_of_program, args=(command, cwd, env, output, theirs)
        )
        self._process.start()
        theirs.close()
        with ours, suppress(EOFError):
            ours.recv_bytes()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, which is ``-N`` after a signal N; None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: the process has not ended after ``timeout`` seconds.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a forked process can have this environment: Python reads its own when it starts."""
    return all(name == "PYTHONUNBUFFERED" for name in env if name.startswith("PYTHON"))


def run_as_started(env: Mapping[str, str], main: Callable[[], object]) -> None:
    """Run ``main`` in a forked process, as if the process had been started for it.

    Args:
        env: the environment variables, instead of those of the parent.
        main: the work of the process.
    """
    # Otherwise the garbage collector visits the packages again and again, and writes to all memory
    # that the processes share: the start of a server took 0.47 s of a processor instead of 0.29 s.
    gc.freeze()
    os.environ.clear()
    os.environ.update(env)
    if "PYTHONUNBUFFERED" in env:
        sys.stdout = TextIOWrapper(FileIO(1, "w", closefd=False), write_through=True)
    try:
        _run_to_the_end(main)
    except KeyboardInterrupt:  # as Python ends, but multiprocessing would exit with 1
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)


def run_script(
    script: Path, args: Sequence[str], env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a script of Python in its own directory, and capture its output.

    Args:
        script: the path of the script.
        args: its arguments.
        env: its environment variables. Those of Python itself (``PYTHON…``) have no effect.
        timeout: seconds.

    Raises:
        subprocess.TimeoutExpired: it has been killed, because it took longer.
    """
    with tempfile.TemporaryDirectory() as made:
        outputs = Path(made, "stdout"), Path(made, "stderr")
        process = FORKS.Process(target=_main_of_script, args=(script, args, env, outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([str(script), *args], timeout)
        stdout, stderr = (output.read_text() if output.exists() else "" for output in outputs)
        return subprocess.CompletedProcess([str(script), *args], process.exitcode, stdout, stderr)


def _run_to_the_end(main: Callable[[], object]) -> None:
    try:
        main()
    finally:
        # In the order of Python's own end. Processes of multiprocessing do not run the latter.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()


def _main_of_script(
    script: Path, args: Sequence[str], env: Mapping[str, str], outputs: Sequence[Path]
) -> None:
    for number, output in enumerate(outputs, 1):
        with output.open("w") as opened:
            os.dup2(opened.fileno(), number)
    _run([str(script), *args], script.parent, env)


def _main_of_program(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], output: Path, parent: Connection
) -> None:
    os.setsid()
    with output.open("a") as opened:
        os.dup2(opened.fileno(), 1)
        os.dup2(opened.fileno(), 2)
    parent.close()
    _run(command, cwd, env)


def _run(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(cwd)
    sys.path.insert(0, str(cwd))
    if command[0] == "-m":
        name = command[1]
        sys.argv = list(command[1:])
        run = partial(runpy.run_module, name, run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        run = partial(runpy.run_path, command[0], run_name="__main__")
    run_as_started(env, run)
