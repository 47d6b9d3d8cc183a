"""The site's part in benchmarks: users, tokens, publications, and clients of these users."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt

from . import processes
from .herd import Greeting, Herd
from .servers import SECRET, Server

PREPARE = str(Path(__file__).parent / "prepare.py")

TITLE = "Your order has shipped"
#: Makes a frame of about 260 bytes.
BODY = "x" * 38


def make_users(server: Server, count: int) -> None:
    """Create users 1 to ``count``, and after them a user who may send."""
    _prepare(server, "users", str(count))


def broadcast(server: Server, count: int) -> None:
    """Publish ``count`` broadcasts from another process."""
    _prepare(server, "broadcast", str(count))


def bulk(server: Server) -> tuple[int, float]:
    """Call ``notify()`` for all users; return their number and the seconds that it took."""
    count, seconds = _prepare(server, "bulk").split()
    return int(count), float(seconds)


def steady(server: Server, users: int, rate: int, seconds: float) -> subprocess.Popen[str]:
    """Start a process that calls ``notify()`` ``rate`` times a second for users 1 to ``users``.

    The body of each notification holds the times at which it was due and at which the call began,
    by :func:`benchmarks.herd.now`.
    """
    command = [sys.executable, PREPARE, "steady", str(users), str(rate), str(seconds)]
    with processes.on_cpus(processes.ALL_CPUS):
        return subprocess.Popen(
            command, env=server.environment, stdout=subprocess.PIPE, text=True, cwd=os.sep
        )


def token(number: int) -> str:
    return jwt.encode({"sub": str(number)}, SECRET, algorithm="HS256")


def connect_as(number: int) -> bytes:
    return json.dumps({"id": 1, "connect": {"token": token(number)}}).encode()


def greet(numbers: range) -> Greeting:
    """Return ``connect`` commands by client: client 0 connects as the first of these users.

    The tokens are created now, so that their creation is not measured.
    """
    commands = [[connect_as(number)] for number in numbers]
    return lambda number: commands[number]


def herd(server: Server, greeting: Greeting) -> Herd:
    return Herd(
        "127.0.0.1",
        server.port,
        server.path,
        greeting,
        answer=lambda payload: b"{}" if payload == b"{}" else None,
        ignore=lambda payload: payload == b"{}" or not payload.startswith(b'{"push":{"channel"'),
    )


def publish(channel: str, number: int, body: str = BODY) -> bytes:
    data = {"title": TITLE, "body": body}
    return json.dumps({"id": number, "publish": {"channel": channel, "data": data}}).encode()


def _prepare(server: Server, *arguments: str) -> str:
    command = [sys.executable, PREPARE, *arguments]
    done = subprocess.run(
        command, env=server.environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()
