"""The measured servers, each a process or a tree of processes."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import processes, results
from .processes import Missing
from .stores import Stores

HERE = Path(__file__).parent
ROOT = HERE.parent
SECRET = secrets.token_hex(32)

#: The directory of nginx, which is often not in PATH.
SYSTEM_PROGRAMS = "/usr/sbin"
NCHAN_INSTALL = "apt-get install nginx-light libnginx-mod-nchan"
NODE_INSTALL = "apt-get install nodejs npm && npm install --prefix benchmarks/peers"
SOCKET_IO_PATH = "/socket.io/?EIO=4&transport=websocket"
SITE_PATH = "/connection/websocket"

Opener = Callable[[], AbstractContextManager["Server"]]


@dataclass
class Server:
    """A running server, and its use of CPU and memory."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    path: str = "/"
    #: Environment variables for other processes of the site.
    environment: dict[str, str] = field(default_factory=dict)
    stores: Stores = field(default_factory=Stores)

    def broadcast(self, line: str) -> None:
        """Write a line to the server's stdin, which it sends to all sockets."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def cpu(self) -> float:
        """Return the CPU seconds that the server's own processes have used so far."""
        return processes.cpu_seconds(processes.tree(self.process.pid))

    def stores_cpu(self) -> float:
        """Return the CPU seconds that its database and its Redis have used so far."""
        found = (pid for root in self.stores.pids for pid in processes.tree(root))
        return processes.cpu_seconds(found)

    def memory(self) -> int:
        """Return the memory of the server's own processes in bytes (PSS)."""
        return processes.memory(processes.tree(self.process.pid))


@contextmanager
def floor(writes: str = "descriptors") -> Iterator[Server]:
    """Run the floor: one write per socket, to ``descriptors`` or to uvloop's ``transports``."""
    name = results.FLOOR if writes == "descriptors" else results.FLOOR_LOOP
    with running(name, [sys.executable, str(HERE / "floor.py"), writes]) as server:
        yield server


@contextmanager
def bare() -> Iterator[Server]:
    """Run uvicorn with an application that only accepts connections."""
    command = [sys.executable, str(HERE / "peers" / "stock.py"), "bare"]
    with running(results.BARE, command) as server:
        yield server


@contextmanager
def stock(stores: Stores | None = None) -> Iterator[Server]:
    """Run a consumer as in Channels' tutorial, with the in-memory layer or with Redis."""
    name = results.STOCK_REDIS if stores else results.STOCK_MEMORY
    command = [sys.executable, str(HERE / "peers" / "stock.py"), "stock"]
    environment = {"REDIS_URL": stores.redis_url} if stores else {}
    with running(name, command, environment) as server:
        server.stores = stores or Stores()
        yield server


@contextmanager
def node(script: str, name: str, path: str = "/") -> Iterator[Server]:
    """Run a Node script of ``peers/``.

    Raises:
        Missing: Node or its packages are not installed.
    """
    binary = shutil.which("node")
    if binary is None or not (HERE / "peers" / "node_modules").is_dir():
        raise Missing(f"{name}: {NODE_INSTALL}")
    with running(name, [binary, str(HERE / "peers" / script)]) as server:
        server.path = path
        yield server


@contextmanager
def nchan() -> Iterator[Server]:
    """Run nginx with nchan and one worker, which takes broadcasts by HTTP at ``/publish``.

    Raises:
        Missing: nginx or its module is not installed.
    """
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SYSTEM_PROGRAMS}")
    if binary is None:
        raise Missing(f"{results.NCHAN}: {NCHAN_INSTALL}")
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as folder:
        text = (HERE / "peers" / "nchan.conf").read_text()
        values = {"MODULE": _nchan_module(binary), "FOLDER": folder, "PORT": str(port)}
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (Path(folder) / "nginx.conf").write_text(text)
        command = [binary, "-p", folder, "-c", f"{folder}/nginx.conf"]
        with running(results.NCHAN, command, port=port) as server:
            server.path = "/subscribe"
            yield server


@contextmanager
def ours(name: str, stores: Stores | None = None, workers: int = 1) -> Iterator[Server]:
    """Run the site as in production, with sessions, durability and all checks enabled."""
    stores = stores or Stores()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "DJANGO_SETTINGS_MODULE": "benchmarks.host_settings",
            "ALLOWED_HOSTS": "127.0.0.1",
            "SECURE_SSL_REDIRECT": "0",
            "DATA_DIR": folder,
            "SECRET_KEY": SECRET,
            "DEBUG": "0",
            "STATIC_ROOT": folder,
            "NOTIFICATIONS_TOKEN_SECRET": SECRET,
            # All clients of the herd have the same address.
            "NOTIFICATIONS_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
            "DATABASE_URL": stores.database_url,
            "REDIS_URL": stores.redis_url,
        }
        manage = [sys.executable, str(ROOT / "manage.py")]
        whole = {**os.environ, **environment}
        subprocess.run([*manage, "migrate", "-v0"], env=whole, check=True)
        port = processes.free_port()
        command = [*manage, "serve", "--port", str(port), "--workers", str(workers)]
        with running(name, command, environment, port=port) as server:
            server.path = SITE_PATH
            server.environment = whole
            server.stores = stores
            yield server


@contextmanager
def running(
    name: str,
    command: list[str],
    environment: dict[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Server]:
    """Start a server. Without ``port``, pass a free port to the command as its last argument."""
    if port is None:
        port = processes.free_port()
        command = [*command, str(port)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        process = processes.start(command, log, environment=environment)
        try:
            processes.wait_for(port, process, name, log)
            yield Server(name, port, process)
            if b"Traceback" in log.read_bytes():
                sys.stderr.write(log.read_text())
        finally:
            processes.stop(process)


def _nchan_module(binary: str) -> str:
    """Return the directive that loads nchan, or an empty string if nchan is built in."""
    version = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False)
    if re.search(r"--add-module=\S*nchan", version.stderr):
        return ""
    for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules"):
        module = Path(folder) / "ngx_nchan_module.so"
        if module.exists():
            return f"load_module {module};"
    raise Missing(f"{results.NCHAN}: {NCHAN_INSTALL}")
