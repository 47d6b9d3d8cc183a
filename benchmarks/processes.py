"""Processes of a run: started on a processor, asked what they use, stopped. Linux only (/proc)."""

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

#: What this run may use; read before anything is pinned.
CPUS = sorted(os.sched_getaffinity(0))
#: The processor of the servers under measurement, and that of the client.
SERVER_CPUS = {CPUS[0]}
CLIENT_CPUS = {CPUS[1 % len(CPUS)]}
#: Where databases and publishers run: whatever is free just then.
ALL_CPUS = set(CPUS)
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0


class Missing(Exception):
    """A peer that is not installed; the message says how to get it."""


def start(
    command: list[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cpus: Iterable[int] = SERVER_CPUS,
) -> subprocess.Popen[bytes]:
    """Start a process on some processors; its output goes to ``log``, its stdin stays open."""
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
    """What is started in here stays on these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process in good order, or else by force, and with it whatever it has started."""
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
    """Wait until somebody answers at the port.

    Raises:
        Missing: the process ended, or nobody does for :data:`START_TIMEOUT` seconds.
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
    """What this runs on, in a few words."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = models[0] if models else platform.machine()
    system, python = platform.release().split("-")[0], platform.python_version()
    return f"{len(CPUS)} × {model}, Linux {system}, Python {python}"


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((task / "children").read_text() for task in tasks).split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in tree(int(child)))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time, user and system, of processes and of the children they have outlived."""
    return sum(_cpu(pid) for pid in pids)


def memory(pids: Iterable[int]) -> int:
    """Bytes of memory that belong to processes, shared pages divided (PSS)."""
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
