"""A client that behaves as the SDKs of the Centrifuge protocol do.

It keeps the position of what it got, comes back with it after a backoff, drops what has an offset
that it has, answers pings, gives up a connection on which none comes, subscribes to topics, has
its token refreshed, and fetches the inbox when it is told that something could not be recovered.

Source: https://centrifugal.dev/docs/transports/client_api.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from .ledger import Ledger
from .network import Network, Wire
from .people import LIFETIME, Credentials, People, cookie
from .process import Process

#: Seconds: until the first attempt to come back, and until the last ones at most.
SOONEST, LATEST = 0.5, 6.0

#: How long a reply may take before the connection is given up.
PATIENCE = 5.0

#: So much longer than the server's interval no ping may come.
PING_DELAY = 6.0

#: Until a person whose client has been sent away for good logs in again.
LOG_IN = 4.0

#: Before it runs out a token is refreshed.
EARLY = 1.0


class Position(NamedTuple):
    epoch: str
    offset: int


class Device:
    """One client of one user.

    Args:
        name: for the trace.
        by_session: it authenticates by cookie, else by a token.
        topics: that it subscribes to by itself.
        pick: finds the worker to which a new socket leads; None while there is none.
    """

    def __init__(
        self,
        name: str,
        user_id: int,
        network: Network,
        people: People,
        ledger: Ledger,
        chance: Random,
        pick: Callable[[], Process | None],
        *,
        by_session: bool,
        is_short: bool,
        is_new: bool,
        topics: tuple[str, ...],
    ) -> None:
        self.name = name
        #: Of somebody who has never connected.
        self.is_new = is_new
        self.user_id = user_id
        self.channel = f"user:{user_id}"
        self._network = network
        self._people = people
        self._ledger = ledger
        self._chance = chance
        self._pick = pick
        self.by_session = by_session
        self._lifetime = LIFETIME if is_short else None
        self.topics = topics
        self.shown: Credentials | None = None
        self.password = ""
        self.positions: dict[str, Position] = {}
        self.wire: Wire | None = None
        self.is_connected = False
        self.connected_at = 0.0
        self.asked_at = 0.0
        #: Channels that this connection has, and the last offset that came in each.
        self.on_wire: dict[str, int] = {}
        self.needs_inbox = False
        self._attempts = 0
        self._last_id = 0
        self._pending: dict[int, Callable[[dict[str, Any]], None]] = {}
        #: Timers of this connection; those of the one before count for nothing.
        self._life = 0
        self._pings = 0
        #: A channel that an application has closed for now.
        self.left: set[str] = set()

    def __repr__(self) -> str:
        return self.name

    # Coming and going

    def start(self) -> None:
        self._log_in()

    def forget(self) -> None:
        """The same person with a new browser."""
        self._drop()
        self._ledger.forget(self)
        self.positions.clear()
        self.shown = None
        self._later(SOONEST, self._log_in)

    def rest(self, seconds: float) -> None:
        """No network for a while."""
        self._drop()
        self._later(seconds, self._connect if self.shown else self._log_in)

    def _log_in(self) -> None:
        options = {"by_session": self.by_session, "lifetime": self._lifetime}
        self._people.ask(self._logged_in, lambda: self._people.log_in(self.user_id, **options))

    def _logged_in(self, shown: Credentials | None) -> None:
        if shown is None:
            self._later(LOG_IN, self._log_in)
            return
        self.shown = shown
        self.password = self._people.password(self.user_id)
        self._ledger.logged_in(self)
        self._connect()

    def _connect(self) -> None:
        worker = self._pick()
        if worker is None or self.shown is None:
            self._come_back()
            return
        self._life += 1
        self.asked_at = self._network.loop.now
        is_plain = self._chance.random() < 0.3
        headers = cookie(self.shown)
        self.wire = Wire(self._network, worker, self, headers, is_plain=is_plain)
        self._later(PATIENCE, self._lost_patience)

    def opened(self) -> None:
        assert self.shown is not None
        request: dict[str, Any] = {"token": self.shown.token} if self.shown.token else {}
        subs = {
            name: {"recover": True, "epoch": position.epoch, "offset": position.offset}
            for name, position in self.positions.items()
            if not name.startswith("topic:")
        }
        self.command(self._connect_answered, connect={**request, "subs": subs})

    def lost(self, code: int) -> None:
        """The socket is gone; the code says whether to come back."""
        if self.wire is None:
            return
        self._drop()
        if code == 1009 or 3500 <= code < 4000:
            self._start_over()
        else:
            self._come_back()

    def _drop(self) -> None:
        self._life += 1
        self.is_connected = False
        self.on_wire.clear()
        self._pending.clear()
        wire, self.wire = self.wire, None
        if wire is not None and wire.has_client:
            wire.hang_up()

    def _come_back(self) -> None:
        self._attempts += 1
        most = min(LATEST, SOONEST * 2**self._attempts)
        self._later(self._chance.uniform(SOONEST / 2, most), self._connect)

    def _start_over(self) -> None:
        """Sent away for good: a person has to log in again, and the SDK begins from nothing."""
        self._ledger.forget(self)
        self.positions.clear()
        self.shown = None
        self._later(LOG_IN, self._log_in)

    def _lost_patience(self) -> None:
        if not self.is_connected and self.wire is not None:
            if self.wire.is_well:
                self._ledger.waited(self, self.asked_at)
            self._drop()
            self._come_back()

    # Commands

    def command(self, answered: Callable[[dict[str, Any]], None] | None, **request: Any) -> None:
        if self.wire is None:
            return
        self._last_id += 1
        if answered is not None:
            self._pending[self._last_id] = answered
        self.wire.say(json.dumps({"id": self._last_id, **request}))

    def _connect_answered(self, reply: dict[str, Any]) -> None:
        error = reply.get("error")
        if error is not None:
            self._refused(error)
            return
        result = reply["connect"]
        self.is_connected = True
        self.connected_at = self._network.loop.now
        self._attempts = 0
        self._ledger.waited(self, self.asked_at)
        subs = result.get("subs", {})
        for name in [name for name in self.positions if not name.startswith("topic:")]:
            if name not in subs:
                self._unsubscribed(name)
        for name, sub in subs.items():
            self._subscribed(name, sub)
        if result.get("expires"):
            self._later(max(0.1, result["ttl"] - EARLY), self._refresh)
        self._expect_ping(result["ping"])
        for name in self.topics:
            self.subscribe(name)
        self.fetch_inbox()

    def _refused(self, error: dict[str, Any]) -> None:
        self._drop()
        if error.get("temporary"):
            self._come_back()
        elif error["code"] == 109:
            self._later(SOONEST, self._log_in)
        else:
            self._start_over()

    def subscribe(self, name: str) -> None:
        if name in self.left or name in self.on_wire or not self.is_connected:
            return
        position = self.positions.get(name)
        recover = {"recover": True, **position._asdict()} if position else {}
        self.command(lambda reply: self._topic_answered(name, reply), subscribe={"channel": name, **recover})

    def _topic_answered(self, name: str, reply: dict[str, Any]) -> None:
        if "subscribe" in reply:
            self._subscribed(name, reply["subscribe"])
            self.fetch_inbox()
        elif name not in self.on_wire:
            # Temporary or not: an application asks again when its screen is opened again.
            self._later(3.0, self.subscribe, name)

    def unsubscribe(self, name: str) -> None:
        """A screen is closed; the SDK keeps the position."""
        self.left.add(name)
        if name in self.on_wire:
            del self.on_wire[name]
            self.command(None, unsubscribe={"channel": name})

    def return_to(self, name: str) -> None:
        """The screen is opened again."""
        self.left.discard(name)
        self.subscribe(name)

    def _refresh(self) -> None:
        options = {"by_session": False, "lifetime": self._lifetime}
        self._people.ask(self._refreshed, lambda: self._people.log_in(self.user_id, **options))

    def _refreshed(self, shown: Credentials | None) -> None:
        if shown is None or not self.is_connected:
            return  # it goes on until it runs out, and asks for a new one then
        self.shown = shown
        self._ledger.logged_in(self)
        self.command(self._refresh_answered, refresh={"token": shown.token})

    def _refresh_answered(self, reply: dict[str, Any]) -> None:
        if reply.get("refresh", {}).get("expires"):
            self._later(max(0.1, reply["refresh"]["ttl"] - EARLY), self._refresh)

    def acknowledge(self) -> None:
        for name in self.on_wire:
            offset = self.positions[name].offset
            self.command(None, rpc={"method": "ack", "data": {"channel": name, "offset": offset}})

    def fetch_inbox(self, before: str = "") -> None:
        """What an application does that has been told of a loss."""
        if self.needs_inbox and self.is_connected:
            data = {"limit": 50, "before": before}
            self.command(self._inbox_answered, rpc={"method": "inbox", "data": data})

    def _inbox_answered(self, reply: dict[str, Any]) -> None:
        if "rpc" not in reply:
            self._later(2.0, self.fetch_inbox)
            return
        result = reply["rpc"]["data"]
        self._ledger.fetched(self, [entry["title"] for entry in result["entries"]])
        if result.get("next"):
            self.fetch_inbox(result["next"])
        else:
            self.needs_inbox = False

    # Frames

    def took(self, text: str, written_at: float) -> None:
        for line in text.split("\n"):
            reply = json.loads(line)
            if reply == {}:
                self._pings += 1
                if self.wire is not None:
                    self.wire.say("{}")
            elif "push" in reply:
                self._pushed(reply["push"], written_at)
            else:
                answered = self._pending.pop(reply["id"], None)
                if answered is not None:
                    self.written_at = written_at
                    answered(reply)
            if self.wire is None:
                return

    def _pushed(self, push: dict[str, Any], written_at: float) -> None:
        name = push.get("channel", "")
        if "pub" in push:
            if name not in self.left:
                self._published(name, push["pub"], written_at)
        elif "subscribe" in push:
            self._ledger.ended(self, name)
            self.positions.pop(name, None)
            self._subscribed(name, push["subscribe"])
        elif "unsubscribe" in push:
            self._unsubscribed(name)
            if name in self.topics:
                self._later(3.0, self.subscribe, name)

    def _subscribed(self, name: str, result: dict[str, Any]) -> None:
        position = Position(result["epoch"], result.get("offset", 0))
        publications = result.get("publications", [])
        self._ledger.subscribed(self, name, result)
        if result.get("was_recovering") and not result.get("recovered"):
            self.needs_inbox = True
        known = self.positions.get(name)
        if known is None or known.epoch != position.epoch:
            self.positions[name] = Position(position.epoch, 0)
        self.on_wire[name] = 0
        if result.get("recovered") or not result.get("was_recovering"):
            for publication in publications:
                self._published(name, publication, self.written_at)
        self.on_wire[name] = position.offset
        self.positions[name] = position

    def _unsubscribed(self, name: str) -> None:
        self.on_wire.pop(name, None)
        if not name.startswith("topic:"):  # of those an SDK keeps the position
            self._ledger.ended(self, name)
            self.positions.pop(name, None)

    def _published(self, name: str, publication: dict[str, Any], written_at: float) -> None:
        offset, data = publication["offset"], publication["data"]
        if offset <= self.on_wire.get(name, -1) or name not in self.on_wire:
            self._ledger.violate("P3", f"{self} gets {offset} of {name} out of order")
        self.on_wire[name] = offset
        position = self.positions[name]
        if offset > position.offset:
            self.positions[name] = position._replace(offset=offset)
            self._ledger.received(self, name, position.epoch, offset, data, written_at)

    # Timers

    written_at = 0.0

    def _expect_ping(self, interval: float) -> None:
        seen, life = self._pings, self._life

        def look() -> None:
            if life != self._life:
                return
            if self._pings == seen:
                self._drop()
                self._come_back()
            else:
                self._expect_ping(interval)

        self._network.later(interval + PING_DELAY, look)

    def _later(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        life = self._life
        self._network.later(delay, lambda: call(*args) if life == self._life else None)
