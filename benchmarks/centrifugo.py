"""Centrifugo, which speaks the same protocol as the site: built, started, published to."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt

from . import processes, results, senders, servers
from .herd import Greeting
from .processes import Missing
from .servers import SECRET, SITE_PATH, Server
from .stores import Stores

VERSION = "v6.9.1"
MODULE = f"github.com/centrifugal/centrifugo/v6@{VERSION}"
#: Where it is built, once for each version.
FOLDER = servers.HERE / "peers" / "bin" / f"centrifugo-{VERSION}"
INSTALL = f"install Go from https://go.dev/dl, and `make bench` runs `go install {MODULE}`"
#: The directory of Go's own packages, which is often not in PATH.
GO_PROGRAMS = "/usr/local/go/bin"
#: Seconds that the build may take: it compiles some hundred packages.
BUILD_TIMEOUT = 1200

#: The channel that all clients read, with a history. Private channels have none.
EVERYONE = "broadcast"
PRIVATE = "personal"
#: Of the broadcasts, of which 100 are kept. Makes frames of about 260 bytes.
BROADCAST = {"text": "x" * 185}
API_HEADERS = f"X-API-Key: {SECRET}\r\n"


def build() -> Path:
    """Return the program, and build it if this version was not built before.

    Raises:
        Missing: Go is not installed, or the build fails.
    """
    program = FOLDER / "centrifugo"
    if program.exists():
        return program
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:{GO_PROGRAMS}")
    if go is None:
        raise Missing(f"Centrifugo: {INSTALL}")
    print(f"building Centrifugo {VERSION}, once", flush=True)
    with processes.on_cpus(processes.ALL_CPUS):
        done = subprocess.run(
            [go, "install", MODULE],
            env={**os.environ, "GOBIN": str(FOLDER)},
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    if done.returncode:
        raise Missing(f"Centrifugo: `go install {MODULE}` fails: {done.stderr.strip()[-300:]}")
    return program


@contextmanager
def centrifugo(stores: Stores | None = None) -> Iterator[Server]:
    """Run Centrifugo in memory, or on Redis.

    Raises:
        Missing: see :func:`build`.
    """
    program = build()
    name = results.CENTRIFUGO_REDIS if stores else results.CENTRIFUGO
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(_configuration(port, stores)))
        with servers.running(name, [str(program), "--config", str(path)], port=port) as server:
            server.path = SITE_PATH
            server.stores = stores or Stores()
            yield server


def _configuration(port: int, stores: Stores | None) -> dict[str, Any]:
    engine = {"type": "redis", "redis": {"address": [stores.redis_url]}} if stores else {}
    return {
        "http_server": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
        "engine": engine,
        "http_api": {"key": SECRET},
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "allowed_origins": ["*"],
            "subscribe_to_user_personal_channel": {
                "enabled": True,
                "personal_channel_namespace": PRIVATE,
            },
        },
        "channel": {
            "without_namespace": {
                "history_size": 100,
                "history_ttl": "1h",
                "force_recovery": True,
            },
            "namespaces": [{"name": PRIVATE}],
        },
    }


def greet(numbers: range) -> Greeting:
    """Return a greeting by which client 0 connects as the first of these users, and so on."""
    return _greeting(numbers, {})


def come_back(server: Server, numbers: range, missed: int) -> Greeting:
    """Publish broadcasts, and return a greeting that asks for them after :func:`greet`."""
    before = _call(server, "history", {"channel": EVERYONE})
    for _ in range(missed):
        _call(server, "publish", {"channel": EVERYONE, "data": BROADCAST})
    position = {"epoch": before["epoch"], "offset": before.get("offset", 0)}
    return _greeting(numbers, {"subs": {EVERYONE: {"recover": True, **position}}})


async def broadcaster(server: Server) -> senders.Send:
    """Return a function that publishes to all clients by the HTTP API."""
    content = {"channel": EVERYONE, "data": BROADCAST}
    return await senders.by_http(server, "/api/publish", json.dumps(content), API_HEADERS)


async def private_sender(server: Server, users: int) -> senders.Send:
    """Return a function that publishes to the private channels of users 1 to ``users``.

    All of them are in one call of the ``broadcast`` method.
    """
    channels = [f"{PRIVATE}:#{number}" for number in range(1, users + 1)]
    content = {"channels": channels, "data": BROADCAST}
    return await senders.by_http(server, "/api/broadcast", json.dumps(content), API_HEADERS)


def _greeting(numbers: range, more: dict[str, Any]) -> Greeting:
    commands = []
    for number in numbers:
        claims = {"sub": str(number), "channels": [EVERYONE]}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        commands.append([json.dumps({"id": 1, "connect": {"token": token, **more}}).encode()])
    return lambda number: commands[number]


def _call(server: Server, method: str, content: dict[str, Any]) -> dict[str, Any]:
    """Call a method of the HTTP API.

    Raises:
        RuntimeError: Centrifugo answers with an error.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/api/{method}",
        json.dumps(content).encode(),
        {"X-API-Key": SECRET, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    if "error" in answer:
        raise RuntimeError(f"Centrifugo: {method}: {answer['error']}")
    found: dict[str, Any] = answer["result"]
    return found
