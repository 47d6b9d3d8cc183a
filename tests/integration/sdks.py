"""The npm package ``centrifuge`` in a Node process, unmodified."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.client import PATIENCE
from tests.js.test_modules import find_node
from tests.servers import STOP_TIMEOUT
from tests.sites import ROOT

T = TypeVar("T")

SCRIPT = Path(__file__).with_name("sdk.mjs")


class Refused(Exception):
    """A call of the SDK has failed with this code of the protocol."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class JavaScript:
    """One client of the SDK. A thread records its events.

    Args:
        endpoints: the transports in the order in which the SDK tries them, each with a URL.
        trusting: accept any certificate.
        options: options of the SDK.
    """

    def __init__(
        self, endpoints: list[tuple[str, str]], *, trusting: bool = False, **options: Any
    ) -> None:
        listed = [{"transport": name, "endpoint": url} for name, url in endpoints]
        self._process = subprocess.Popen(
            [
                find_node(),
                "--experimental-eventsource",
                "--no-warnings",
                str(SCRIPT),
                json.dumps({"endpoints": listed, "minReconnectDelay": 50, **options}),
            ],
            cwd=ROOT,
            env={**os.environ, **({"NODE_TLS_REJECT_UNAUTHORIZED": "0"} if trusting else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A group of its own: node of a virtual environment is the child of a Python process.
            start_new_session=True,
        )
        #: Contexts by name of the event.
        self.events: dict[str, list[dict[str, Any]]] = {}
        #: Publications of subscriptions, by channel.
        self.subscribed: dict[str, list[dict[str, Any]]] = {}
        self._results: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._thread.join(STOP_TIMEOUT)
            self._process.stdout.close()

    def connected(self) -> dict[str, Any]:
        """Connect, and return the context of the event."""
        self.begin("connect")
        return self.wait_for_event("connected")

    def begin(self, name: str, *values: Any) -> int:
        """Call the SDK without waiting for the result."""
        self._last_id += 1
        command = {"id": self._last_id, "name": name, "values": values}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._last_id

    def call(self, name: str, *values: Any) -> Any:
        """Call the SDK and return the result.

        Raises:
            Refused: the server has answered with an error.
        """
        call_id = self.begin(name, *values)
        self.wait(lambda: call_id in self._results, f"the result of {name}")
        result = self._results[call_id]
        if "error" in result:
            raise Refused(result["error"]["code"], result["error"]["message"])
        return result["result"]

    def titles(self, channel: str) -> list[str]:
        """The titles of publications in a channel, whichever way it is subscribed."""
        with self._changed:
            found = [
                *(p for p in self.events.get("publication", []) if p["channel"] == channel),
                *self.subscribed.get(channel, []),
            ]
        return [publication["data"]["title"] for publication in found]

    def count(self, event: str) -> int:
        with self._changed:
            return len(self.events.get(event, []))

    def wait_for_event(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait for the event to come so many times, and return the context of the last one."""
        self.wait(lambda: len(self.events.get(event, [])) >= count, f"{count} of {event}")
        return self.events[event][-1]

    def wait(self, condition: Callable[[], T], what: str, timeout: float = 2 * PATIENCE) -> T:
        with self._changed:
            found = self._changed.wait_for(condition, timeout)
        assert found, f"{what} did not come; {self.events}"
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                self._take(message)
                self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._results[message["id"]] = message
        elif message["subscription"] and message["event"] == "publication":
            self.subscribed.setdefault(message["subscription"], []).append(message["context"])
        elif not message["subscription"]:
            self.events.setdefault(message["event"], []).append(message["context"])
