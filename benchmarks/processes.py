"""Start processes on chosen CPUs, measure what they use, and stop them. Linux only (/proc)."""

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

#: The CPUs that this run may use, read before any process is pinned.
CPUS = sorted(os.sched_getaffinity(0))
#: The CPU of the servers under measurement, and that of the client.
SERVER_CPUS = {CPUS[0]}
CLIENT_CPUS = {CPUS[1 % len(CPUS)]}
#: The CPUs of databases and publishers, which are not pinned.
ALL_CPUS = set(CPUS)
#: Seconds within which a server must listen, and a stopped process must end.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0


class Missing(Exception):
    """A program that is not installed or does not start; the message says how to install it."""


def start(
    command: list[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cpus: Iterable[int] = SERVER_CPUS,
) -> subprocess.Popen[bytes]:
    """Start a process on these CPUs; its output goes to ``log``, and its stdin is a pipe."""
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
    """Pin the processes that are started in the block to these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, or kill it if that takes too long, and kill its descendants."""
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
        Missing: the process ended, or did not listen within :data:`START_TIMEOUT` seconds.
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
    """Describe the machine: CPUs, kernel and Python."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = models[0] if models else platform.machine()
    system, python = platform.release().split("-")[0], platform.python_version()
    return f"{len(CPUS)} × {model}, Linux {system}, Python {python}"


def tree(pid: int) -> list[int]:
    """The ids of a process and its descendants; none if it has ended."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((task / "children").read_text() for task in tasks).split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in tree(int(child)))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, of processes and of their children that have ended."""
    return sum(_cpu(pid) for pid in pids)


def memory(pids: Iterable[int]) -> int:
    """Memory of processes in bytes, with shared pages divided among their users (PSS)."""
    return sum(_pss(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        # The process's own clock (MAKE_PROCESS_CPUCLOCK in Linux's posix-timers.h) counts
        # nanoseconds; /proc counts hundredths of a second.
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
