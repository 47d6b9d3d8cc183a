"""Record of what each user is owed and each device has received.

People, publishers and devices report every event to the ledger. It reports a violation at once
where one event is enough to prove it; :mod:`tests.simulation.invariants` checks the rest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

#: Seconds of a working database after which no device receives a stream that it may not read:
#: RIGHTS_INTERVAL, plus a check that has already begun, plus frames in transit.
RIGHTS_BOUND = 14.0

#: Maximum seconds to connect while the worker and the database work.
CONNECT_BOUND = 3.5

#: Seconds of a working database within which a restore or failover is dealt with: the position
#: checks have found it, or the operator has reacted to an alarm of the site.
RENEWAL_BOUND = 45.0

#: Seconds within which a device that stays connected learns of a loss, without the operator: two
#: position checks, and one retry of the renewal.
REPORT_BOUND = 12.0

#: Seconds by which a scheduled notification may be seen before its time.
EARLY = 0.05


class Receiver(Protocol):
    """The part of a device that the ledger uses."""

    user_id: int
    needs_inbox: bool
    is_new: bool

    def __repr__(self) -> str: ...


@dataclass
class Entry:
    """One call of a publisher."""

    title: str
    #: ``open``, ``committed`` or ``rolled back``; ``unknown`` if the call raised another error.
    state: str = "open"
    #: The earliest virtual time in seconds at which it may be seen.
    not_before: float = 0.0
    #: It was published with a key, so another notification may have replaced it.
    is_keyed: bool = False
    #: A restore or failover has removed it from the tables.
    is_gone: bool = False


class Loss(NamedTuple):
    """Notifications of one channel that a device has seen and the tables have lost."""

    since: float
    titles: set[str]

    def __str__(self) -> str:
        return ", ".join(sorted(self.titles))


@dataclass
class Follow:
    """A device has to receive everything in a channel above offset ``after``."""

    epoch: str
    after: int


@dataclass
class Account:
    """What one device has seen over all its connections."""

    titles: set[str] = field(default_factory=set)
    once: set[tuple[str, str, str]] = field(default_factory=set)
    follows: dict[str, Follow] = field(default_factory=dict)
    #: Offset up to which the inbox has to fill a reported loss, by channel.
    reported: dict[str, int] = field(default_factory=dict)
    #: Losses that have not been reported to the device yet, by channel.
    unreported: dict[str, Loss] = field(default_factory=dict)

    def lose(self, now: float, before: dict[str, set[str]], after: dict[str, set[str]]) -> None:
        """Record what the device loses when tables go back.

        The tables may contain again what was lost earlier.

        Args:
            now: virtual time in seconds.
            before: titles in each channel until now.
            after: titles in each channel from now on.
        """
        for channel in list(self.unreported):
            self.unreported[channel].titles.difference_update(after.get(channel, ()))
            if not self.unreported[channel].titles:
                del self.unreported[channel]
        for channel in self.follows:
            gone = before.get(channel, set()) - after.get(channel, set())
            lost = gone & {title for name, _, title in self.once if name == channel}
            if lost:
                earlier = self.unreported.get(channel, Loss(now, set()))
                self.unreported[channel] = Loss(now, lost | earlier.titles)

    def begin_again(self, channel: str) -> None:
        """Record that the application knows of the break: what follows does not continue."""
        self.unreported.pop(channel, None)
        self.once = {entry for entry in self.once if entry[0] != channel}


class Ledger:
    """Everything that the simulation knows and the system under test does not.

    Args:
        now: returns the virtual time in seconds.
        calm_seconds: returns for how many seconds between two times the database worked.
    """

    def __init__(
        self, now: Callable[[], float], calm_seconds: Callable[[float, float], float]
    ) -> None:
        self._now = now
        self._calm_seconds = calm_seconds
        self.violations: list[str] = []
        #: Promises whose violations are not reported.
        self.ignored: set[str] = set()
        self.entries: dict[str, Entry] = {}
        self.accounts: dict[Receiver, Account] = defaultdict(Account)
        #: Titles that any device of a user has seen, and the offsets of each user's channels up to
        #: which a loss was reported to one of the user's devices.
        self.seen: dict[int, set[str]] = defaultdict(set)
        self.excused: dict[tuple[int, str], int] = defaultdict(int)
        self._rights: list[tuple[float, dict[int, frozenset[str]]]] = []
        #: When the credentials of a device ceased to be valid.
        self._invalid_since: dict[Receiver, float] = {}
        self._went_back_at = -math.inf
        #: The epochs in the tables right after they went back.
        self._old_epochs: dict[str, str] = {}

    def violate(self, promise: str, what: str) -> None:
        if promise not in self.ignored:
            self.violations.append(f"{promise}: {what} (at {self._now():.3f})")

    # Publishers

    def open(self, title: str) -> Entry:
        entry = self.entries[title] = Entry(title)
        return entry

    # People

    def rights_are(self, readable: dict[int, frozenset[str]]) -> None:
        """Record the channels that each user may read from now on."""
        self._rights.append((self._now(), readable))

    def may_read(self, user_id: int, channel: str) -> bool:
        return channel in self._rights[-1][1].get(user_id, ())

    def credentials_end(self, device: Receiver) -> None:
        self._invalid_since.setdefault(device, self._now())

    def logged_in(self, device: Receiver) -> None:
        """Record that the credentials of the device are valid, or were a moment ago."""
        self._invalid_since.pop(device, None)

    # Devices

    def waited(self, device: Receiver, since: float) -> None:
        """Record how long a device has waited for an answer to ``connect``, or until it gave up."""
        if device.is_new:  # an open transaction may have locked its stream
            return
        if self._calm_seconds(since, self._now()) > CONNECT_BOUND:
            self.violate("P9", f"{device} has waited since {since:.3f} for the answer to connect")

    def forget(self, device: Receiver) -> None:
        """Record that the device has lost its state and starts as a new one."""
        self.accounts.pop(device, None)
        device.needs_inbox = False

    def subscribed(self, device: Receiver, channel: str, result: dict[str, Any]) -> None:
        account = self.accounts[device]
        epoch, offset = result["epoch"], result.get("offset", 0)
        follow = account.follows.get(channel)
        was_recovering, recovered = result.get("was_recovering"), result.get("recovered")
        if was_recovering and recovered:
            if follow is not None and follow.epoch != epoch:
                self.violate("P8", f"{device} recovers {channel} in another epoch")
            if follow is not None:
                return
        if was_recovering and not recovered:
            account.begin_again(channel)
            account.reported[channel] = offset
            key = device.user_id, channel
            self.excused[key] = max(self.excused[key], offset)
        if not was_recovering:
            account.begin_again(channel)
        first = [publication["offset"] - 1 for publication in result.get("publications", [])[:1]]
        after = min([offset, *first]) if not was_recovering else offset
        account.follows[channel] = Follow(epoch, after)

    def ended(self, device: Receiver, channel: str) -> None:
        """Record that the server has ended a subscription; the SDK forgets its position."""
        account = self.accounts[device]
        account.follows.pop(channel, None)
        account.begin_again(channel)

    def received(
        self,
        device: Receiver,
        channel: str,
        epoch: str,
        offset: int,
        data: dict[str, Any],
        written_at: float,
    ) -> None:
        title = data["title"]
        what = f"{device} sees {title} ({channel} {epoch} {offset})"
        entry = self.entries.get(title)
        if entry is None:
            self.violate("P1", f"{what}, which nobody has published")
            return
        if entry.state == "rolled back":
            self.violate("P2", f"{what}, which was rolled back")
        if written_at < entry.not_before - EARLY:
            self.violate("clocks", f"{what} {entry.not_before - written_at:.1f} s early")
        account = self.accounts[device]
        if (channel, epoch, title) in account.once:
            self.violate("P3", f"{what} twice")
        account.once.add((channel, epoch, title))
        account.titles.add(title)
        self.seen[device.user_id].add(title)
        self._check_rights(device, channel, written_at, what)

    def fetched(self, device: Receiver, titles: list[str]) -> None:
        self.accounts[device].titles.update(titles)
        self.seen[device.user_id].update(titles)

    # History that goes back

    def may_be_old(self, channel: str, epoch: str | None) -> bool:
        """Return whether the channel has gone back so recently that it may lack a new epoch."""
        if self._old_epochs.get(channel) != epoch or self._went_back_at == -math.inf:
            return False
        return self._calm_seconds(self._went_back_at, self._now()) < RENEWAL_BOUND

    def went_back(
        self,
        before: dict[str, set[str]],
        after: dict[str, set[str]],
        tops: dict[str, int],
        epochs: dict[str, str],
    ) -> None:
        """Record that the tables have gone back to an earlier state.

        Args:
            before: titles in each channel until now.
            after: titles in each channel from now on.
            tops: top of each channel from now on.
            epochs: epoch of each channel from now on.
        """
        self._went_back_at = self._now()
        self._old_epochs = epochs
        for user_id, channel in list(self.excused):
            key = user_id, channel
            self.excused[key] = min(self.excused[key], tops.get(channel, 0))
        for account in self.accounts.values():
            account.lose(self._now(), before, after)
        self._invalid_since.clear()

    def check_reported(self, device: Receiver, connected_at: float) -> None:
        """P8: a device that stays connected learns of a loss."""
        for channel, loss in self.accounts[device].unreported.items():
            is_late = self._calm_seconds(loss.since, self._now()) > REPORT_BOUND
            if connected_at < loss.since and is_late:
                self.violate("P8", f"{device} was not notified that {loss} of {channel} went back")

    def _check_rights(self, device: Receiver, channel: str, at: float, what: str) -> None:
        ended = self._ended_at(device.user_id, channel, at)
        invalid = self._invalid_since.get(device)
        for since, why in ((ended, "may not read it"), (invalid, "is logged out")):
            if since is not None and self._calm_seconds(since, at) > RIGHTS_BOUND:
                self.violate("P6", f"{what}, but {why} since {since:.3f}")

    def _ended_at(self, user_id: int, channel: str, at: float) -> float | None:
        """Return since when the user may not read the channel, or None if the user may."""
        ended: float | None = None
        for since, readable in self._rights:
            if since > at:
                break
            if channel in readable.get(user_id, ()):
                ended = None
            elif ended is None:
                ended = since
        return ended
