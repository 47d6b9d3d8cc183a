"""Starting, measuring and stopping the processes of a run. Linux only (/proc)."""

import os
import platform
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

#: The processors that this run may use, read before any process is pinned.
CPUS = sorted(os.sched_getaffinity(0))
#: The processor of the measured servers, and that of the client.
SERVER_CPUS = {CPUS[0]}
CLIENT_CPUS = {CPUS[1 % len(CPUS)]}
#: The processors of databases and publishers, which are not pinned.
ALL_CPUS = set(CPUS)
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0


class Missing(Exception):
    """A program is not installed or does not start; the message says how to install it, or why."""


def start(
    command: list[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cpus: Iterable[int] = SERVER_CPUS,
) -> subprocess.Popen[bytes]:
    """Start a process on ``cpus``, with its output in ``log`` and its stdin open."""
    with log.open("wb") as output, on_cpus(cpus):
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )


@contextmanager
def on_cpus(cpus: Iterable[int]) -> Iterator[None]:
    """Pin processes that are started in the ``with`` block to these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pids: Iterable[int], cpus: Iterable[int]) -> None:
    """Pin running processes, with all their threads, to these processors."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cpus)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, kill it after :data:`STOP_TIMEOUT` seconds, and kill its descendants."""
    below = tree(process.pid)[1:]
    process.send_signal(signal.SIGTERM)
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in below:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(port: int, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    """Wait until the port accepts connections.

    Raises:
        Missing: the process ended, or the port stays closed for :data:`START_TIMEOUT` seconds.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Missing(f"{name} does not start: {log.read_text(errors='replace')[-2000:].strip()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine() -> str:
    """Describe the processors, the kernel and the Python version in a few words."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = models[0] if models else platform.machine()
    system, python = platform.release().split("-")[0], platform.python_version()
    return f"{len(CPUS)} × {model}, Linux {system}, Python {python}"


def tree(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    children: list[str] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # this thread has just ended
                children += (task / "children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in tree(int(child)))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds, user and system, of processes and of their reaped children."""
    return sum(_cpu(pid) for pid in pids)


def memory(pids: Iterable[int]) -> int:
    """Return the proportional set size (PSS) of processes in bytes."""
    return sum(_pss(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        # The CPU clock of the process (MAKE_PROCESS_CPUCLOCK in Linux's posix-timers.h) has a
        # resolution of nanoseconds; /proc has hundredths of a second.
        own = time.clock_gettime((~pid << 3) | 2)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    outlived = int(fields[13]) + int(fields[14])
    return own + outlived / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
