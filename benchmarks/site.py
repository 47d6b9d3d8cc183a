"""The site as a benchmark sees it: users, tokens, and clients that connect as they."""

import json
import subprocess
import sys
from pathlib import Path

import jwt

from .herd import Greeting, Herd
from .servers import SECRET, Server

PREPARE = str(Path(__file__).parent / "prepare.py")

#: A frame of 254 to 269 bytes, as the figures of the other servers were taken with.
TITLE = "Your order has shipped"
BODY = "x" * 70


def make_users(server: Server, count: int) -> None:
    """Users 1 to ``count``, and after them one who may send."""
    _prepare(server, "users", str(count))


def broadcast(server: Server, count: int) -> None:
    """Publish ``count`` broadcasts from another process."""
    _prepare(server, "broadcast", str(count))


def bulk(server: Server) -> tuple[int, float]:
    """``notify()`` to all users; how many there are and how many seconds it took."""
    count, seconds = _prepare(server, "bulk").split()
    return int(count), float(seconds)


def token(number: int) -> str:
    return jwt.encode({"sub": str(number)}, SECRET, algorithm="HS256")


def connect_as(number: int, subs: dict[str, object] | None = None) -> bytes:
    request: dict[str, object] = {"token": token(number)}
    if subs:
        request["subs"] = subs
    return json.dumps({"id": 1, "connect": request}).encode()


def greeting(tokens: list[bytes]) -> Greeting:
    """Tokens are made before the clock starts."""
    return lambda number: [tokens[number]]


def herd(server: Server) -> Herd:
    return Herd(
        "127.0.0.1",
        server.port,
        server.path,
        answer=lambda frame: b"{}" if frame == b"{}" else None,
        ignore=lambda frame: frame == b"{}" or frame.startswith(b'{"push":{"message"'),
    )


def publish(channel: str, number: int) -> bytes:
    data = {"title": TITLE, "body": BODY}
    return json.dumps({"id": number, "publish": {"channel": channel, "data": data}}).encode()


def _prepare(server: Server, *arguments: str) -> str:
    command = [sys.executable, PREPARE, *arguments]
    done = subprocess.run(
        command, env=server.environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
