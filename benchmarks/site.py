"""Access to the site under measurement: users, tokens, publishers, and clients of those users."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt

from notifications.protocol import client_pb2 as pb

from . import processes
from .herd import PREFIX_LENGTH, Greeting, Herd
from .servers import SECRET, Server

PREPARE = str(Path(__file__).parent / "prepare.py")

#: Users who publish from clients. Several, because a user may send 50 commands per second.
SENDERS = 8

TITLE = "Your order has shipped"
#: Makes frames of about 260 bytes.
BODY = "x" * 38


def make_users(server: Server, count: int) -> None:
    """Create the users 1 to ``count``, and then a superuser who may publish."""
    _prepare(server, "users", str(count))


def broadcast(server: Server, count: int) -> None:
    """Publish ``count`` broadcasts from another process."""
    _prepare(server, "broadcast", str(count))


def make_groups(server: Server, size: int) -> None:
    """Create the groups 1 and 2, of the first ``size`` users and of the next."""
    _prepare(server, "groups", str(size))


def bulk(server: Server, count: int) -> tuple[float, float, float]:
    """Call ``notify()`` once for users 1 to ``count``, in another process.

    Returns:
        The duration in seconds; when it had committed, on the clock of
        :func:`benchmarks.herd.now`; and how much the memory of the process grew, in bytes.
    """
    seconds, committed, grown = map(float, _prepare(server, "bulk", str(count)).split())
    return seconds, committed, grown


def steady(server: Server, users: int, rate: int, seconds: float) -> subprocess.Popen[str]:
    """Start a process that calls ``notify()`` ``rate`` times per second for users 1 to ``users``.

    The body of each notification holds the time at which it was due and the time at which the call
    began, both from :func:`benchmarks.herd.now`.
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
    """Return a greeting by which client 0 connects as the first of these users, and so on.

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


def protobuf_herd(server: Server, numbers: range, channel: str) -> Herd:
    """Return a herd whose clients speak Protobuf, as these users. Only this channel counts."""
    commands = [_message(pb.Command(id=1, connect={"token": token(number)})) for number in numbers]
    # Reply.push, Push.channel: what a publication begins with, after three lengths.
    beginning = b"\x12" + bytes([len(channel)]) + channel.encode()
    return Herd(
        "127.0.0.1",
        server.port,
        f"{server.path}?format=protobuf",
        lambda number: [commands[number]],
        answer=lambda payload: b"\0" if payload == b"\0" else None,
        ignore=lambda payload: beginning not in payload[:PREFIX_LENGTH],
        opcode=2,
    )


def _message(command: pb.Command) -> bytes:
    data = command.SerializeToString()
    low, high = len(data) & 0x7F, len(data) >> 7
    return bytes((low | 0x80, high)) + data


def publish(channel: str, number: int, body: str = BODY) -> bytes:
    data = {"title": TITLE, "body": body}
    return json.dumps({"id": number, "publish": {"channel": channel, "data": data}}).encode()


def _prepare(server: Server, *arguments: str) -> str:
    command = [sys.executable, PREPARE, *arguments]
    done = subprocess.run(
        command, env=server.environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()
