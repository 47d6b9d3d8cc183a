"""Comparison of what was committed with what applications have received."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tests.client import Received


class Seen(NamedTuple):
    """What one device received: its user's channel, and its publications in order of arrival."""

    channel: str
    publications: Sequence[Received]


class Verdict(NamedTuple):
    """Totals over all devices.

    ``sent`` counts notifications. The other counts are of publications, once for each device.

    Args:
        sent: notifications that were committed.
        lost: publications that a device has not received.
        duplicated: publications that a device has received again.
        misordered: publications out of order; see :func:`_misordered`.
        unexpected: publications that a device should not have received.
        delay: the longest delay of a publication, in seconds.
        expected: publications that all devices together should have received.
    """

    sent: int
    lost: int
    duplicated: int
    misordered: int
    unexpected: int
    delay: float
    expected: int

    @property
    def delivered(self) -> str:
        """The publications that arrived and those that were expected, as ``n/m``."""
        return f"{self.expected - self.lost}/{self.expected}"

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicated or self.misordered or self.unexpected)


def judge(committed: Mapping[str, Sequence[str]], devices: Iterable[Seen]) -> Verdict:
    """Compare what devices have received with what was committed.

    Args:
        committed: titles by channel, in order of their commits.
        devices: each of them expects its user's channel and ``broadcast``.
    """
    verdicts = [_judge(committed, device) for device in devices]
    return Verdict(
        sum(len(titles) for titles in committed.values()),
        sum(verdict.lost for verdict in verdicts),
        sum(verdict.duplicated for verdict in verdicts),
        sum(verdict.misordered for verdict in verdicts),
        sum(verdict.unexpected for verdict in verdicts),
        max((verdict.delay for verdict in verdicts), default=0.0),
        sum(verdict.expected for verdict in verdicts),
    )


def missing(committed: Mapping[str, Sequence[str]], device: Seen) -> set[tuple[str, str]]:
    """Return the channels and titles that a device has not received yet."""
    found = {(each.channel, each.data["title"]) for each in device.publications}
    return _expected(committed, device) - found


def _expected(committed: Mapping[str, Sequence[str]], device: Seen) -> set[tuple[str, str]]:
    return {
        (channel, title)
        for channel in ("broadcast", device.channel)
        for title in committed.get(channel, ())
    }


def _judge(committed: Mapping[str, Sequence[str]], device: Seen) -> Verdict:
    expected = _expected(committed, device)
    found = Counter((each.channel, each.data["title"]) for each in device.publications)
    delays = [each.at - each.data["data"]["at"] for each in device.publications if _is_timed(each)]
    return Verdict(
        sent=len(expected),
        lost=len(expected - found.keys()),
        duplicated=sum(count - 1 for count in found.values()),
        misordered=sum(
            _misordered(device, channel, committed.get(channel, ())) for channel in committed
        ),
        unexpected=len(found.keys() - expected),
        delay=max(delays, default=0.0),
        expected=len(expected),
    )


def _misordered(device: Seen, channel: str, titles: Sequence[str]) -> int:
    """Count publications whose predecessor has a higher or equal offset or was committed later."""
    places = {title: place for place, title in enumerate(titles)}
    own = [each for each in device.publications if each.channel == channel]
    return sum(
        later.offset <= earlier.offset
        or places.get(later.data["title"], 0) < places.get(earlier.data["title"], 0)
        for earlier, later in pairwise(own)
    )


def _is_timed(publication: Received) -> bool:
    return "at" in publication.data.get("data", {})
