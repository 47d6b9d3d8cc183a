"""A client that behaves as the SDKs of the Centrifuge protocol do.

It stores its position in each channel and recovers from it, drops publications whose offset it
already has, subscribes to topics, refreshes its token, and fetches the inbox when the server
reports that it could not recover. :mod:`tests.simulation.transport` has the connection handling.

Source: https://centrifugal.dev/docs/transports/client_api.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from .ledger import Ledger
from .network import Network
from .people import LIFETIME, Credentials, People, cookie
from .process import Process
from .transport import MIN_DELAY, Transport

#: Seconds until a person logs in again after a terminal disconnect.
LOGIN_DELAY = 4.0

#: Seconds until a failed token refresh is retried, as SDKs do.
REFRESH_RETRY = 5.0

#: Seconds before its expiry at which a token is refreshed.
REFRESH_EARLY = 1.0


class Position(NamedTuple):
    epoch: str
    offset: int


class Device(Transport):
    """One client of one user.

    Args:
        name: its name in the trace.
        pick: chooses the worker for a new socket; returns None while no worker runs.
        by_session: authenticate with a session cookie instead of a token.
        is_short: use tokens that expire after ``LIFETIME`` seconds.
        is_new: the user has never connected before.
        topics: channels that the client itself subscribes to.
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
        super().__init__(name, network, chance, pick)
        self.user_id = user_id
        self.channel = f"user:{user_id}"
        self.is_new = is_new
        self.by_session = by_session
        self.topics = topics
        self._people = people
        self._ledger = ledger
        self._lifetime = LIFETIME if is_short else None
        self.credentials: Credentials | None = None
        self.password = ""
        self.positions: dict[str, Position] = {}
        #: The channels of this connection, and the last offset received in each.
        self.on_wire: dict[str, int] = {}
        self.needs_inbox = False
        #: Topics that the client has unsubscribed from for a while.
        self.left: set[str] = set()

    # Connecting and disconnecting

    def start(self) -> None:
        self._log_in()

    def forget(self) -> None:
        """Start again with a new browser, which knows nothing."""
        self.drop()
        self._ledger.forget(self)
        self.positions.clear()
        self.credentials = None
        self.later(MIN_DELAY, self._log_in)

    def go_offline(self, seconds: float) -> None:
        """Go offline for a while."""
        self.drop()
        self.later(seconds, self.connect if self.credentials else self._log_in)

    def _log_in(self) -> None:
        how = self.user_id, self.by_session, self._lifetime
        self._people.ask(self._logged_in, self._people.log_in, *how)

    def _logged_in(self, credentials: Credentials | None) -> None:
        if credentials is None:
            self.later(LOGIN_DELAY, self._log_in)
            return
        self.credentials = credentials
        self.password = self._people.password(self.user_id)
        self._ledger.logged_in(self)
        self.connect()

    def headers(self) -> list[tuple[bytes, bytes]] | None:
        return None if self.credentials is None else cookie(self.credentials)

    def dropped(self) -> None:
        self.on_wire.clear()

    def waited(self) -> None:
        if self.wire is not None and not self.wire.was_stalled:
            self._ledger.waited(self, self.asked_at)

    def opened(self) -> None:
        assert self.credentials is not None
        request: dict[str, Any] = (
            {"token": self.credentials.token} if self.credentials.token else {}
        )
        subs = {
            name: {"recover": True, "epoch": position.epoch, "offset": position.offset}
            for name, position in self.positions.items()
            if not name.startswith("topic:")
        }
        self.command(self._connect_answered, connect={**request, "subs": subs})

    def terminally_disconnected(self) -> None:
        """Log in again after a terminal disconnect, with a new SDK client that has no positions."""
        self._ledger.forget(self)
        self.positions.clear()
        self.credentials = None
        self.later(LOGIN_DELAY, self._log_in)

    # Commands

    def _connect_answered(self, reply: dict[str, Any]) -> None:
        error = reply.get("error")
        if error is not None:
            self._refused(error)
            return
        result = reply["connect"]
        self.connected(result["ping"])
        self.waited()
        subs = result.get("subs", {})
        for name in [name for name in self.positions if not name.startswith("topic:")]:
            if name not in subs:
                self._unsubscribed(name)
        for name, sub in subs.items():
            self._subscribed(name, sub)
        if result.get("expires"):
            self.later(max(0.1, result["ttl"] - REFRESH_EARLY), self._refresh)
        for name in self.topics:
            self.subscribe(name)
        self.fetch_inbox()

    def _refused(self, error: dict[str, Any]) -> None:
        self.drop()
        if error.get("temporary"):
            self.reconnect()
        elif error["code"] == 109:
            self.later(MIN_DELAY, self._log_in)
        else:
            self.terminally_disconnected()

    def subscribe(self, name: str) -> None:
        if name in self.left or name in self.on_wire or not self.is_connected:
            return
        position = self.positions.get(name)
        recover = {"recover": True, **position._asdict()} if position else {}
        self.command(
            lambda reply: self._topic_answered(name, reply), subscribe={"channel": name, **recover}
        )

    def _topic_answered(self, name: str, reply: dict[str, Any]) -> None:
        if "subscribe" in reply:
            self._subscribed(name, reply["subscribe"])
            self.fetch_inbox()
        elif name not in self.on_wire:
            # Retry whatever the error is: the user may open the same screen again.
            self.later(3.0, self.subscribe, name)

    def unsubscribe(self, name: str) -> None:
        """Unsubscribe because a screen was closed; the SDK keeps the position."""
        self.left.add(name)
        if name in self.on_wire:
            del self.on_wire[name]
            self.command(None, unsubscribe={"channel": name})

    def return_to(self, name: str) -> None:
        """Subscribe again because the screen was opened again."""
        self.left.discard(name)
        self.subscribe(name)

    def _refresh(self) -> None:
        how = self.user_id, False, self._lifetime
        self._people.ask(self._refreshed, self._people.log_in, *how)

    def _refreshed(self, credentials: Credentials | None) -> None:
        if not self.is_connected:
            return  # connecting again obtains a new token when one is needed
        if credentials is None:
            self.later(REFRESH_RETRY, self._refresh)
            return
        self.credentials = credentials
        self.password = self._people.password(self.user_id)
        self._ledger.logged_in(self)
        self.command(self._refresh_answered, refresh={"token": credentials.token})

    def _refresh_answered(self, reply: dict[str, Any]) -> None:
        if reply.get("refresh", {}).get("expires"):
            self.later(max(0.1, reply["refresh"]["ttl"] - REFRESH_EARLY), self._refresh)

    def acknowledge(self) -> None:
        for name in self.on_wire:
            offset = self.positions[name].offset
            self.command(None, rpc={"method": "ack", "data": {"channel": name, "offset": offset}})

    def fetch_inbox(self, before: str = "") -> None:
        """Fetch the inbox, as an application does after a failed recovery."""
        if self.needs_inbox and self.is_connected:
            data = {"limit": 50, "before": before}
            self.command(self._inbox_answered, rpc={"method": "inbox", "data": data})

    def _inbox_answered(self, reply: dict[str, Any]) -> None:
        if "rpc" not in reply:
            self.later(2.0, self.fetch_inbox)
            return
        result = reply["rpc"]["data"]
        self._ledger.fetched(self, [entry["title"] for entry in result["entries"]])
        if result.get("next"):
            self.fetch_inbox(result["next"])
        else:
            self.needs_inbox = False

    # Frames

    def pushed(self, push: dict[str, Any], written_at: float) -> None:
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
                self.later(3.0, self.subscribe, name)

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
        if not name.startswith("topic:"):  # an SDK keeps the position of client-side subscriptions
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
