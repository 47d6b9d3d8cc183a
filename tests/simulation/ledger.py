"""What has been promised to whom, what has arrived, and the rules that hold at each moment.

The ledger is told of everything that people, publishers and devices see. What can be judged at
once is judged at once; :mod:`tests.simulation.invariants` asks for the rest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

#: Seconds of a database that answers after which nobody sees a stream that he may not read.
#: RIGHTS_INTERVAL, a round that was under way, and what is on its way.
RIGHTS_BOUND = 14.0

#: A worker and a database that work let nobody wait longer for a connection, in seconds.
CONNECT_BOUND = 3.5

#: So soon after a restore or failover all is well again, in seconds of a database that works: the
#: position checks have seen it, or the site has warned and its operator has done what is needed.
RENEWAL_BOUND = 45.0

#: So soon somebody learns of it who was connected all the time, without any help: two position
#: checks, and a renewal that is tried again.
TOLD_BOUND = 12.0

#: A notification that is due is not seen before its moment by more than this.
EARLY = 0.05


class Receiver(Protocol):
    """A device, as far as the ledger knows it."""

    user_id: int
    needs_inbox: bool
    is_new: bool

    def __repr__(self) -> str: ...


@dataclass
class Entry:
    """One call of a publisher."""

    title: str
    #: ``open``, ``committed``, ``rolled back``; ``unknown`` if the answer was lost.
    state: str = "open"
    #: When it may be seen at the earliest, in true virtual time.
    not_before: float = 0.0
    #: It was published with a key, and may be dropped for another one.
    is_keyed: bool = False
    #: A restore or failover has taken it away.
    is_gone: bool = False


class Loss(NamedTuple):
    """What a device has seen of a channel is not there any more."""

    since: float
    titles: set[str]

    def __str__(self) -> str:
        return ", ".join(sorted(self.titles))


@dataclass
class Follow:
    """A device is owed everything in a channel above ``after``."""

    epoch: str
    after: int


@dataclass
class Account:
    """What one device has seen, over all its connections."""

    titles: set[str] = field(default_factory=set)
    once: set[tuple[str, str, str]] = field(default_factory=set)
    follows: dict[str, Follow] = field(default_factory=dict)
    #: Where a loss was told: channel, and the offset up to which the inbox has to be asked.
    told: dict[str, int] = field(default_factory=dict)
    #: Losses that have happened and that it has not been told of yet, by channel.
    untold: dict[str, Loss] = field(default_factory=dict)

    def lose(self, now: float, before: dict[str, set[str]], after: dict[str, set[str]]) -> None:
        """Tables have gone back; what was lost earlier may be there again."""
        for channel in list(self.untold):
            self.untold[channel].titles.difference_update(after.get(channel, ()))
            if not self.untold[channel].titles:
                del self.untold[channel]
        for channel in self.follows:
            gone = before.get(channel, set()) - after.get(channel, set())
            lost = gone & {title for name, _, title in self.once if name == channel}
            if lost:
                earlier = self.untold.get(channel, Loss(now, set()))
                self.untold[channel] = Loss(now, lost | earlier.titles)

    def begin_again(self, channel: str) -> None:
        """The application knows that what comes now does not follow what it has."""
        self.untold.pop(channel, None)
        self.once = {entry for entry in self.once if entry[0] != channel}


class Ledger:
    """Everything that the simulation knows and the system does not.

    Args:
        now: virtual seconds.
        calm_seconds: how much of a time the database could be asked.
    """

    def __init__(
        self, now: Callable[[], float], calm_seconds: Callable[[float, float], float]
    ) -> None:
        self._now = now
        self._calm_seconds = calm_seconds
        self.violations: list[str] = []
        #: Promises that may be broken, because it is known that they are.
        self.ignored: set[str] = set()
        self.entries: dict[str, Entry] = {}
        self.accounts: dict[Receiver, Account] = defaultdict(Account)
        #: What any device of a user has seen, and up to where a loss was told to one of them.
        self.seen: dict[int, set[str]] = defaultdict(set)
        self.excused: dict[tuple[int, str], int] = defaultdict(int)
        self._rights: list[tuple[float, dict[int, frozenset[str]]]] = []
        #: When what a device has shown stopped to be good.
        self._invalid_since: dict[Receiver, float] = {}
        self._went_back_at = -math.inf
        #: What the epochs were then.
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
        """From now on everybody may read these channels and no others."""
        self._rights.append((self._now(), readable))

    def may_read(self, user_id: int, channel: str) -> bool:
        return channel in self._rights[-1][1].get(user_id, ())

    def credentials_end(self, device: Receiver) -> None:
        self._invalid_since.setdefault(device, self._now())

    def logged_in(self, device: Receiver) -> None:
        """It shows something that is good, or that was a moment ago."""
        self._invalid_since.pop(device, None)

    # Devices

    def waited(self, device: Receiver, since: float) -> None:
        """A device has asked to connect; now it has its answer, or has lost patience."""
        if device.is_new:  # an open transaction may hold what it needs
            return
        if self._calm_seconds(since, self._now()) > CONNECT_BOUND:
            self.violate("P9", f"{device} has waited since {since:.3f} for its turn to connect")

    def forget(self, device: Receiver) -> None:
        """It begins from nothing, as a new one."""
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
            account.told[channel] = offset
            key = device.user_id, channel
            self.excused[key] = max(self.excused[key], offset)
        if not was_recovering:
            account.begin_again(channel)
        first = [publication["offset"] - 1 for publication in result.get("publications", [])[:1]]
        after = min([offset, *first]) if not was_recovering else offset
        account.follows[channel] = Follow(epoch, after)

    def ended(self, device: Receiver, channel: str) -> None:
        """The server has taken a channel away; the SDK forgets its position."""
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
        """Has the channel gone back so lately that it may still be without a new epoch?"""
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
        """Tables are as they were earlier.

        Args:
            before: titles that were published in each channel.
            after: those that are now.
            tops: of the channels now.
            epochs: likewise.
        """
        self._went_back_at = self._now()
        self._old_epochs = epochs
        for user_id, channel in list(self.excused):
            key = user_id, channel
            self.excused[key] = min(self.excused[key], tops.get(channel, 0))
        for account in self.accounts.values():
            account.lose(self._now(), before, after)
        self._invalid_since.clear()

    def check_told(self, device: Receiver, connected_at: float) -> None:
        """P8: a device that has been connected all the time learns of a loss."""
        for channel, loss in self.accounts[device].untold.items():
            is_late = self._calm_seconds(loss.since, self._now()) > TOLD_BOUND
            if connected_at < loss.since and is_late:
                self.violate("P8", f"nobody tells {device} that {loss} of {channel} went back")

    def _check_rights(self, device: Receiver, channel: str, at: float, what: str) -> None:
        ended = self._ended_at(device.user_id, channel, at)
        invalid = self._invalid_since.get(device)
        for since, why in ((ended, "may not read it"), (invalid, "is logged out")):
            if since is not None and self._calm_seconds(since, at) > RIGHTS_BOUND:
                self.violate("P6", f"{what}, but {why} since {since:.3f}")

    def _ended_at(self, user_id: int, channel: str, at: float) -> float | None:
        """Since when the user may not read the channel; None if he may."""
        ended: float | None = None
        for since, readable in self._rights:
            if since > at:
                break
            if channel in readable.get(user_id, ()):
                ended = None
            elif ended is None:
                ended = since
        return ended
