"""A client that sends garbage. It has to get an answer, and others must not notice it (P7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from .ledger import Ledger
from .network import Network, Wire
from .process import Process

#: Seconds within which garbage has to be answered.
BOUND = 9.0

GARBAGE: list[Any] = [
    "",
    "\n\n\n",
    "{",
    "[]",
    "null",
    "{}" * 3,
    '{"id":1}',
    '{"id":-1,"connect":{}}',
    '{"id":1,"connect":{"token":"x.y.z"}}',
    '{"id":1,"connect":{"token":7}}',
    '{"id":1,"connect":{"subs":{"broadcast":{"offset":1e99}}}}',
    '{"id":1,"subscribe":{"channel":"topic:news"}}',
    '{"id":2,"rpc":{"method":"inbox"}}',
    '{"id":1,"connect":' + "[" * 3000 + "}",
    "x" * 70_000,
    '{"id":1,"connect":{"token":"\\ud800"}}',
    b"\x00\x01\x02",
    json.dumps({"id": 1, "connect": {"token": "a" * 5000, "subs": {"user:1": {"recover": True}}}}),
]


class Vandal:
    """Opens a new socket for each piece of garbage."""

    def __init__(
        self,
        network: Network,
        ledger: Ledger,
        chance: Random,
        pick: Callable[[], Process | None],
    ) -> None:
        self._network = network
        self._ledger = ledger
        self._chance = chance
        self._pick = pick

    def send_garbage(self) -> None:
        worker = self._pick()
        if worker is not None:
            _Socket(self._network, self._ledger, worker, self._chance.choice(GARBAGE))


class _Socket:
    def __init__(self, network: Network, ledger: Ledger, worker: Process, garbage: Any) -> None:
        self._network = network
        self._ledger = ledger
        self._worker = worker
        self._garbage = garbage
        self._is_answered = False
        self._wire = Wire(network, worker, self, [], is_plain=False)

    def __repr__(self) -> str:
        return "vandal"

    def opened(self) -> None:
        if isinstance(self._garbage, bytes):
            self._wire.say_bytes(self._garbage)
        else:
            self._wire.say(self._garbage)
        self._network.later(BOUND, self._look)

    def received(self, text: str, written_at: float) -> None:
        self._is_answered = True

    def lost(self, code: int) -> None:
        self._is_answered = True

    def _look(self) -> None:
        is_well = self._worker.is_alive and not self._wire.was_stalled
        if not self._is_answered and is_well:
            self._ledger.violate("P7", f"no answer to {str(self._garbage)[:60]!r}")
        if self._wire.has_client:
            self._wire.hang_up()
