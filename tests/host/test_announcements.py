"""Receivers of the host can delay only other receivers."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal
from django.utils import timezone

from notifications import broadcast
from notifications.database.lanes import COMMANDS, RECEIVERS, TICKER, in_database
from notifications.host import announcements
from notifications.hub import Hub
from notifications.metrics import ANNOUNCEMENTS_DROPPED
from notifications.models import Connection, Notification, Subscription
from notifications.publishing.sequencing import sequence_waiting
from notifications.signals import connected, delivered, published
from tests.peers import Peer
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def blocked(*signals: Signal) -> Iterator[list[dict[str, Any]]]:
    """Connect a receiver that blocks until the end; yield the arguments of its calls."""
    go_on = threading.Event()
    calls: list[dict[str, Any]] = []

    def block(**arguments: Any) -> None:
        calls.append(arguments)
        go_on.wait()

    for signal in signals:
        signal.connect(block)
    try:
        yield calls
    finally:
        go_on.set()
        for signal in signals:
            signal.disconnect(block)


async def test_a_blocked_receiver_stops_neither_acknowledgements_nor_publishing(
    hub: Hub,
) -> None:
    user = await in_database(make_user, "somebody")
    with blocked(connected, delivered, published) as calls:
        peer = await Peer.of(user)
        await peer.connect()
        await hub.flush()
        assert await in_database(Connection.objects.count) == 1
        titles = ["one", "two"]
        for offset, title in enumerate(titles, start=1):
            await TICKER.run(make_due, title)
            await TICKER.run(sequence_waiting)
            await peer.wait_for(*titles[:offset])
            await peer.rpc("ack", channel="broadcast", offset=offset)
            await hub.flush()
            assert await in_database(broadcast_delivered, user) == offset
        assert len(calls) == 1, "the others wait for it"
    await RECEIVERS.run(bool)
    assert len(calls) == 1, "they had no receiver any more"


def make_due(title: str) -> None:
    broadcast(title, publish_at=timezone.now() + timedelta(hours=1))
    waiting = Notification.objects.filter(title=title)
    waiting.update(publish_at=timezone.now() - timedelta(seconds=1))


def broadcast_delivered(user: Any) -> int:
    return Subscription.objects.get(user=user, stream__name="broadcast").delivered


async def test_announcements_arrive_in_order_even_if_a_receiver_fails() -> None:
    signal, heard = Signal(), []

    def hear(number: int, **kwargs: Any) -> None:
        heard.append(number)
        if number == 1:
            raise RuntimeError("a receiver of the host")

    signal.connect(hear)
    for number in range(5):
        await COMMANDS.run(announcements.tell_receivers, signal, None, number=number)
    await RECEIVERS.run(bool)
    assert heard == [0, 1, 2, 3, 4]


async def test_announcements_above_the_limit_are_dropped_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcements, "MAX_WAITING", 4)
    signal, heard = Signal(), []
    dropped = ANNOUNCEMENTS_DROPPED._value.get()
    with blocked(signal), caplog.at_level(logging.ERROR):
        for number in range(10):
            await COMMANDS.run(announcements.tell_receivers, signal, None, number=number)
    await RECEIVERS.run(bool)
    assert ANNOUNCEMENTS_DROPPED._value.get() - dropped == 6
    assert caplog.text.count("too slow") == 1
    signal.connect(lambda number, **kwargs: heard.append(number), weak=False)
    await COMMANDS.run(announcements.tell_receivers, signal, None, number=11)
    await RECEIVERS.run(bool)
    assert heard == [11], "there is room again"


def test_a_request_calls_receivers_in_its_own_thread() -> None:
    signal, threads = Signal(), []
    signal.connect(lambda **kwargs: threads.append(threading.current_thread()), weak=False)
    announcements.tell_receivers(signal, None)
    assert threads == [threading.current_thread()]
