"""All parts of one run, created from its seed."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
from collections import deque
from random import Random
from typing import Any

from channels.layers import channel_layers

from notifications import layer as layer_module
from notifications.database import clock as clock_module
from notifications.hub import client_ids
from notifications.hub.acknowledgements import write_marks
from notifications.models import Notification
from notifications.publishing import drafts, numbering

from . import clock
from .clock import WallClock
from .database import Database
from .device import Device
from .invariants import Invariants
from .layer import FaultyLayer
from .ledger import Ledger
from .loop import SimulatedLoop
from .network import Network
from .operator import Operator
from .people import TOPICS, People
from .process import Process
from .publishers import Publishers
from .threads import Threads
from .vandal import Vandal
from .workers import Workers

#: Number of last events that the report of a violation shows.
LAST = 60

#: Maximum initial error of the clocks of processes, in seconds.
SKEW = 2.0


class World:
    """One simulated system and its users, on one loop.

    Args:
        seed: determines every random choice of the run.
        is_verbose: print each event as it happens.
    """

    def __init__(self, seed: int, *, is_verbose: bool = False) -> None:
        self.seed = seed
        self.is_verbose = is_verbose
        self.loop = SimulatedLoop()
        #: Virtual time in seconds at which the last fault ends.
        self.ends_at = 0.0
        self.events: deque[str] = deque(maxlen=LAST)
        self._digest = hashlib.sha256()
        asyncio.set_event_loop(self.loop)
        gc.disable()  # finalizers would otherwise run at times that the seed does not determine
        clock.begin(self.loop.time, seed)
        client_ids._prepared.clear()  # an earlier run has drawn them
        self.clock = WallClock()
        self.database = Database(self.chance("database"), self.loop.time, self.clock)
        for module in (clock_module, drafts, numbering):
            module.timezone = clock.DatabaseTime(self.clock)  # type: ignore[attr-defined]
        self.ledger = Ledger(self.loop.time, self.database.calm_seconds)
        self.threads = Threads(self.loop, self.database, self.chance("threads"), self.trace)
        self.loop.submit = self.threads.run_in_executor
        self.loop.set_exception_handler(self._failed)
        self._watch = _Watch(self.ledger)
        self.loop.run_until_complete(self._populate())

    async def _populate(self) -> None:
        chance = self.chance("world")
        self.layer = FaultyLayer(self.chance("layer"), self.trace)
        channel_layers.set("default", self.layer)
        self.network = Network(self.loop, self.chance("network"), self.trace)
        self.web = Process("web", self._skewed(chance))
        self.job = Process("job", self._skewed(chance))
        for process in (self.web, self.job):
            process.announcer = process.context.run(layer_module.Announcer)
            process.announcer.use_loop(self.loop)
        then = lambda call, result: self.network.later(0.005, call, result)  # noqa: E731
        self.people = self.web.context.run(
            People, self.web, self.database, self.chance("people"), then
        )
        self.workers = Workers(
            self.loop,
            self.network,
            self.chance("workers"),
            self.trace,
            chance.choice([2, 2, 3]),
            lambda: self._skewed(chance),
        )
        self.publishers = Publishers(
            [self.web, self.job],
            self.people,
            self.database,
            self.ledger,
            self.chance("publishers"),
        )
        self.network.usual_delay = chance.choice([0.02, 0.1, 0.3])
        self.network.heal()
        self._chance = chance
        self.devices: list[Device] = []
        self.rights_changed()
        # The first two users have two devices each.
        for user_id in [*self.people.ids, *self.people.ids[:2]]:
            self.add_device(user_id, is_new=False)
        self.operator = Operator(self.people, self.database, self.network.later, self.excuse)
        self.vandal = Vandal(self.network, self.ledger, self.chance("vandal"), self.workers.pick)
        self.invariants = Invariants(
            self.database,
            self.ledger,
            self.devices,
            self.workers,
            self.network,
            self.operator,
        )

        self.threads.on_done = self._work_is_done

    def _work_is_done(self, name: str) -> None:
        if name == write_marks.__qualname__:
            self.invariants.check_acknowledged()

    def add_device(self, user_id: int, *, is_new: bool = True) -> None:
        """Add a client of a user, and start it soon."""
        number = len(self.devices)
        topics = tuple(f"topic:{slug}" for slug in TOPICS if self._chance.random() < 0.5)
        device = Device(
            f"device{number}",
            user_id,
            self.network,
            self.people,
            self.ledger,
            self.chance(f"device {number}"),
            self.workers.pick,
            by_session=number % 2 == 0,
            is_short=number % 4 == 1,
            is_new=is_new,
            topics=topics,
        )
        self.devices.append(device)
        self.network.later(0.0 if is_new else self._chance.uniform(0.0, 3.0), device.start)

    def chance(self, name: str) -> Random:
        """Return a generator for one part, so that its draws do not affect other parts."""
        return Random(f"{self.seed} {name}")

    def _skewed(self, chance: Random) -> WallClock:
        return WallClock(chance.uniform(-SKEW, SKEW), chance.uniform(-1e-4, 1e-4))

    # Running

    @property
    def digest(self) -> str:
        """Digest of all events so far, in their order."""
        return self._digest.hexdigest()[:16]

    def trace(self, *what: Any, **more: Any) -> None:
        words = " ".join(str(word) for word in (*what, *more.values()))
        line = f"{self.loop.now:10.4f} {words}"
        self._digest.update(line.encode())
        self.events.append(line)
        if self.is_verbose:
            print(line)  # noqa: T201

    def rights_changed(self) -> None:
        """Report to the ledger who may read what, and which credentials are valid."""
        self.ledger.rights_are(self.people.readable())
        for device in self.devices:
            if device.credentials is None:
                continue
            if self.people.is_valid(device.user_id, device.credentials, device.password):
                self.ledger.logged_in(device)
            else:
                self.ledger.credentials_end(device)

    def excuse(self) -> None:
        """See :meth:`Invariants.excuse`."""
        self.invariants.excuse()

    def heal(self) -> None:
        """End all faults, and limit the errors of the clocks to ``SKEW``."""
        for process in (self.web, self.job, *self.workers.running):
            process.clock.offset = max(-SKEW, min(SKEW, process.clock.offset))
        self.database.heal()
        self.layer.heal()
        self.network.heal()
        self.people.heal()
        for wire in list(self.network.wires):
            if wire.stalled_until != float("inf"):
                wire.stalled_until = 0.0
                wire.stall(self.loop.now)

    def go_back(self, snapshot: Any) -> None:
        """Return the database to a snapshot, including the rights of users."""
        published, written = self._published(), self._written()
        self.database.go_back(snapshot)
        there = self._written()
        for title, entry in self.ledger.entries.items():
            if title in there:
                entry.is_gone = False
            elif title in written:
                entry.is_gone = True
        tables = self.invariants.tables()
        self.ledger.went_back(published, self._published(), tables.tops, tables.epochs)
        self.rights_changed()

    def _published(self) -> dict[str, set[str]]:
        rows = self.invariants.tables().rows
        return {name: {row.title for row in found} for name, found in rows.items()}

    def _written(self) -> set[str]:
        with self.database.calm():
            return set(Notification.objects.values_list("title", flat=True))

    def end(self) -> None:
        """Clean up what the next run must not see."""
        for process in (*self.workers.running, *self.workers.stopping, self.web, self.job):
            process.kill()
        self.loop.run_until_complete(asyncio.sleep(0.1))
        gc.collect()  # reports failed tasks whose exceptions were never retrieved
        gc.enable()
        self._watch.remove()
        self.loop.close()
        asyncio.set_event_loop(None)
        clock.end()

    def _failed(self, loop: Any, context: dict[str, Any]) -> None:
        if "was destroyed but it is pending" in context["message"]:
            return  # a task of a killed process
        error = context.get("exception")
        self.ledger.violate("P7", f"unhandled {error!r}: {context['message']}")


class _Watch(logging.Handler):
    """Reports unexpected exceptions that production code has logged as violations."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.WARNING)
        self._ledger = ledger
        for name in ("notifications", "django"):
            logger = logging.getLogger(name)
            logger.disabled = False
            logger.propagate = False
            logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not is_expected(error):
            self._ledger.violate("P7", f"{record.getMessage()} {error!r}")

    def remove(self) -> None:
        for name in ("notifications", "django"):
            logging.getLogger(name).removeHandler(self)


def is_expected(error: BaseException) -> bool:
    """Return whether an injected fault raises this error."""
    text = str(error)
    return any(
        words in text
        for words in ("connection broke", "is away", "lock timeout", "a permission that raises")
    )
