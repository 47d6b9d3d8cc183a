"""Server processes, each with a hub, that are started, stopped and killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from random import Random
from typing import Any

from notifications import hub as hub_package
from notifications import layer as layer_module
from notifications.database import lanes
from notifications.hub import Connection, Hub, LocalStream
from notifications.hub.delivery import repairs, stream
from notifications.hub.sockets.connection import Reader

from .clock import WallClock
from .loop import SimulatedLoop
from .network import Network
from .process import Process, current
from .threads import Pool

Trace = Callable[..., None]


class _OfProcess:
    """Stand-in for the global announcer that uses the announcer of the current process."""

    def __getattr__(self, name: str) -> Any:
        process = current.get()
        assert process is not None, "there is no current process"
        return getattr(process.announcer, name)


async def _hub_of_process() -> Hub:
    process = current.get()
    assert process is not None
    assert process.hub is not None, "the worker has no hub"
    hub: Hub = process.hub
    return hub


def patch_singletons() -> None:
    """Give each simulated process its own hub and announcer, in all modules of the app."""
    stand_ins = {
        "announcer": (layer_module.announcer, _OfProcess()),
        "get_hub": (hub_package.get_hub, _hub_of_process),
    }
    for name in sorted(sys.modules):
        if not name.startswith("notifications"):
            continue
        for attribute, (original, stand_in) in stand_ins.items():
            if getattr(sys.modules[name], attribute, None) is original:
                setattr(sys.modules[name], attribute, stand_in)


def patch_threads() -> None:
    """Give the lanes of the app simulated threads."""
    setattr(lanes, "Threads", Pool)  # noqa: B010 - mypy knows that it is a class


def let_few_be_direct() -> None:
    """Send to descriptors from two readers on, in slices of two: no stream here has many."""
    stream.FEW = 1
    repairs.SLICE = 2


def number_objects() -> None:
    """Make the order of sets of these objects independent of memory addresses."""
    for kind in (Connection, Reader, LocalStream):
        _number(kind)


def _number(kind: Any) -> None:
    numbers: dict[int, int] = {}
    original = kind.__init__

    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        _last[0] += 1
        numbers[id(self)] = _last[0]
        original(self, *args, **kwargs)

    kind.__init__ = initialize
    kind.__hash__ = lambda self: numbers[id(self)]


_last = [0]


class Workers:
    """The workers of a run.

    Args:
        count: number of workers at the start.
        clocks: creates the wall clock of a new process.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        network: Network,
        chance: Random,
        trace: Trace,
        count: int,
        clocks: Callable[[], WallClock],
    ) -> None:
        self._loop = loop
        self._network = network
        self._chance = chance
        self._trace = trace
        self._clocks = clocks
        self._started = 0
        self.running: list[Process] = []
        self.stopping: list[Process] = []
        for _ in range(count):
            self.start()

    def start(self) -> Process:
        self._started += 1
        worker = Process(f"worker{self._started}", self._clocks())
        worker.announcer = worker.context.run(layer_module.Announcer)
        worker.spawn(self._start(worker))
        self._trace("starts", worker)
        return worker

    async def _start(self, worker: Process) -> None:
        worker.hub = Hub()
        await worker.hub.start()
        self.running.append(worker)

    def pick(self) -> Process | None:
        """Return a random running worker for a new socket, or None."""
        return self._chance.choice(self.running) if self.running else None

    def kill(self, worker: Process, *, silently: bool) -> None:
        """Kill a worker; what it has not written is lost.

        Args:
            silently: its host is lost too, so no operating system closes its sockets.
        """
        self._trace("is killed", worker)
        if worker in self.running:
            self.running.remove(worker)
        worker.kill()
        for wire in list(self._network.wires):
            if wire.worker is worker and silently:
                wire.vanish()

    def stop(self, worker: Process) -> None:
        """Stop a worker gracefully."""
        if worker in self.running:
            self._trace("stops", worker)
            self.running.remove(worker)
            self.stopping.append(worker)
            worker.spawn(self._stop(worker))

    async def _stop(self, worker: Process) -> None:
        await worker.hub.drain(asyncio.Event())
        await worker.hub.stop()
        self._network.later(0.1, worker.kill)
