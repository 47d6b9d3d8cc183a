"""Forked processes behave as if they had been started."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.forks import PACKAGES, ForkedProgram, start_program
from tests.integration import jobs
from tests.integration.processes import SecondProcess
from tests.sites import PYTHON, ROOT, Site
from tests.waiting import wait_until

#: What a process is, in the words of the script.
ABOUT = """
import os, sys
print(sys.argv, __name__, os.getcwd(), sorted(os.environ), flush=True)
print(os.getsid(0) == os.getpgid(0) == os.getpid(), repr(sys.stdin.read()))
print([stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)])
print([os.get_inheritable(number) for number in range(3)])
print(sorted(os.sched_getaffinity(0)), os.nice(0), os.umask(0), file=sys.stderr)
"""

WAYS = ("forked", "started")

Process = ForkedProgram | subprocess.Popen[bytes]

#: How a program may end: its last line, and a signal that it gets.
ENDS = [
    ("pass", 0),
    ("sys.exit(3)", 0),
    ("sys.exit('a reason')", 0),
    ("raise ValueError('a defect')", 0),
    ("os._exit(4)", 0),
    ("time.sleep(600)", signal.SIGINT),
    ("time.sleep(600)", signal.SIGTERM),
    ("time.sleep(600)", signal.SIGKILL),
]

#: What it prints in between.
SAID = ("begun", "the thread is done", "at exit")

PROGRAM = """
import atexit, os, sys, threading, time
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.1), print("the thread is done"))).start()
print("begun", flush=True)
"""


def start(tmp_path: Path, way: str, *command: str) -> tuple[Process, Path]:
    """Start a program, forked or as an operator starts it, and return it and its output."""
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    output = tmp_path / way
    if way == "forked":
        return ForkedProgram(command, cwd=tmp_path, env=env, output=output), output
    return start_program([PYTHON, *command], cwd=tmp_path, env=env, output=output), output


@pytest.mark.integration
@pytest.mark.parametrize("command", [("about.py", "--port", "1"), ("-m", "about", "word")])
def test_a_forked_process_is_like_a_started_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "about.py").write_text(ABOUT)
    forked, started = (end_of(*start(tmp_path, way, *command)) for way in WAYS)
    assert forked == started
    assert forked[0] == 0
    assert "True ''" in forked[1]


@pytest.mark.integration
@pytest.mark.parametrize(("last", "sig"), ENDS)
def test_a_forked_process_ends_like_a_started_one(tmp_path: Path, last: str, sig: int) -> None:
    (tmp_path / "program.py").write_text(f"{PROGRAM}{last}\n")
    forked, started = (end_of(*start(tmp_path, way, "program.py"), sig) for way in WAYS)
    assert forked[0] == started[0]
    assert said(forked[1]) == said(started[1])


def end_of(process: Process, output: Path, sig: int = 0) -> tuple[int, str]:
    """Return the exit code and the output of a process; send it a signal before."""
    if sig:
        wait_until(lambda: "begun" in output.read_text(), output.read_text)
        assert process.poll() is None
        process.send_signal(sig)
    code = process.wait(60)
    assert process.poll() == code
    process.send_signal(signal.SIGTERM)  # nobody is there
    return code, output.read_text()


def said(output: str) -> list[str]:
    """The lines that the program itself has printed: a traceback names other places."""
    return [line for line in output.splitlines() if line in SAID]


def test_the_packages_of_forked_processes_start_nothing_when_they_are_imported() -> None:
    check = """
import importlib, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
from django.conf import settings
assert not settings.configured
assert threading.active_count() == 1
assert "twisted.internet.reactor" not in sys.modules
assert not {name.partition(".")[0] for name in sys.modules} & {"notifications", "pushsite"}
"""
    subprocess.run([PYTHON, "-c", check, *PACKAGES], cwd=ROOT, check=True, timeout=120)


@pytest.mark.integration
def test_threads_get_the_answers_to_their_own_jobs(site: Site, tmp_path: Path) -> None:
    other = SecondProcess(site.environment(tmp_path))
    users = {name: other.run(jobs.make_user, name) for name in "abcdefgh"}

    def find(name: str) -> int:
        return other.run(jobs.find_user, name)

    with ThreadPoolExecutor(len(users)) as threads:
        for _ in range(20):
            assert list(threads.map(find, users)) == list(users.values())
    other.stop()
