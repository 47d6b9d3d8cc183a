"""Processes of the site that start quickly, because they are forked.

They come from a process that has imported the packages a site needs, but no settings and no code
of this project. Importing these is most of the work of a start.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "channels_redis.core",
        "channels_redis.pubsub",
        "cryptography.x509",
        "django.contrib.admin.utils",
        "django.core.management",
        "django.db.backends.sqlite3.base",
        "django.db.migrations.executor",
        "django.db.models",
        "django.forms",
        "django.http",
        "django.test",
        "django.urls",
        "google.protobuf.message",
        "jwt",
        "msgspec",
        "psycopg",
        "pydantic",
        "pydantic.types",
        "pytest",  # multiprocessing imports the main module of the parent
    ]
)


def run_as_started(env: Mapping[str, str], main: Callable[[], object]) -> None:
    """Run ``main`` in a forked process, as if the process had been started for it.

    Args:
        env: the environment variables, instead of those of the parent.
        main: the work of the process.
    """
    os.environ.clear()
    os.environ.update(env)
    try:
        main()
    finally:
        # Processes of multiprocessing end without these.
        atexit._run_exitfuncs()


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


def _main_of_script(
    script: Path, args: Sequence[str], env: Mapping[str, str], outputs: Sequence[Path]
) -> None:
    for number, output in enumerate(outputs, 1):
        with output.open("w") as opened:
            os.dup2(opened.fileno(), number)
    os.chdir(script.parent)
    sys.argv = [script.name, *args]
    run_as_started(env, lambda: _run(script))


def _run(script: Path) -> dict[str, Any]:
    return runpy.run_path(str(script), run_name="__main__")
