"""A state machine of clients, hubs and a faulty channel layer, which checks P1, P3 and P6.

The layer loses, repeats, delays and reorders at Hypothesis' choice; sockets block and break; the
server is killed with what it had not written. No rule waits for a clock: each drives the event
loop until nothing more can happen.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.contrib.auth import get_user_model
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from notifications import broadcast, notify
from notifications import hub as hub_package
from notifications.authentication import make_token
from notifications.hub import Hub, get_hub, shutdown
from notifications.layer import announcer
from notifications.models import Notification, Stream, Subscription, Worker
from notifications.sequencing import sequence_waiting
from tests.peers import LAYER, QUIET, Peer
from tests.rooms import make_user, write

T = TypeVar("T")
Message = tuple[str, dict[str, Any]]

NUMBERS = st.integers(0, 3)

#: What becomes of a hint at first. What is held may still be lost, late, repeated or reordered.
FATES = st.sampled_from(["held", "delivered", "delivered twice", "lost"])


class FaultyLayer(InMemoryChannelLayer):
    """Keeps what is sent until the machine decides what becomes of it."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000)
        self.held: list[Message] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.held.append((group, message))

    async def let_go(self, group: str, message: dict[str, Any]) -> None:
        await super().group_send(group, message)


class Device(Peer):
    """One client of one user; a device that forgets is like a new one."""

    def __init__(self, user: Any) -> None:
        super().__init__(token=make_token(user))
        self.user = user
        #: After which offset it was owed everything, by channel.
        self.began: dict[str, int] = {}

    @property
    def channels(self) -> tuple[str, str]:
        return f"user:{self.user.pk}", "broadcast"

    @property
    def is_blocked(self) -> bool:
        return not self._open.is_set()

    def forget(self) -> None:
        self.positions.clear()
        self.publications.clear()
        self.began.clear()

    def offsets(self, channel: str) -> list[int]:
        return [found.offset for found in self.publications if found.channel == channel]

    async def break_off(self) -> None:
        """The server's process is gone, and the socket with it."""
        self.is_gone = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.layer = FaultyLayer()
        channel_layers.set("default", self.layer)
        self.count = 0
        #: What any device of a user has ever received, by user and channel.
        self.seen: dict[tuple[int, str], set[int]] = defaultdict(set)

    @initialize()
    def start(self) -> None:
        self.users = [make_user(f"reader {number}") for number in range(3)]
        self.devices = [Device(self.users[number % 3]) for number in range(4)]
        self.hub: Hub = self.drive(get_hub())
        for number in range(len(self.devices)):
            self.connect(number, forgets=False)

    # Driving

    def drive(self, work: Coroutine[Any, Any, T]) -> T:
        async def driven() -> T:
            result = await work
            await self.settle()
            return result

        return self.loop.run_until_complete(asyncio.wait_for(driven(), 20))

    async def settle(self) -> None:
        """Run until everybody waits for the network, the layer or a clock."""
        quiet = 0
        while quiet < 5:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.is_quiet() else 0

    def is_quiet(self) -> bool:
        hub = hub_package._hubs.get(self.loop)
        if announcer._queue or announcer._busy():
            return False
        if hub is None:
            return True
        queue = self.layer.channels.get(hub._groups._channel)
        looking = hub.rights._task is not None and not hub.rights._task.done()
        if hub.repairs.tasks or looking or (queue is not None and not queue.empty()):
            return False
        if not all(device._incoming.empty() for device in self.devices if not device.is_gone):
            return False
        return all(
            connection.is_blocked or connection.pump is None or connection.pump.done()
            for connection in hub.connections
        )

    async def nothing(self) -> None:
        """For what has been done outside of the loop to take its course."""

    # Publishing

    @rule(number=NUMBERS, expires=st.booleans(), fate=FATES)
    def publish_private(self, number: int, expires: bool, fate: str) -> None:
        before = len(self.layer.held)
        notify(self.users[number % 3], self.title(), **life(expires))
        self.drive(self.meet(fate, before))

    @rule(count=st.integers(1, 3), expires=st.booleans(), fate=FATES)
    def publish_to_all(self, count: int, expires: bool, fate: str) -> None:
        for _ in range(count):
            before = len(self.layer.held)
            broadcast(self.title(), **life(expires))
            self.drive(self.meet(fate, before))

    @rule()
    def die_before_sequencing(self) -> None:
        write("broadcast", title=self.title())

    @rule()
    def tick(self) -> None:
        sequence_waiting()
        self.drive(self.nothing())

    @rule()
    def let_expire(self) -> None:
        expiring = Notification.objects.filter(expires_at__isnull=False)
        expiring.update(expires_at=timezone.now() - timedelta(days=1))

    def title(self) -> str:
        self.count += 1
        return f"number {self.count}"

    # The layer

    @precondition(lambda self: self.layer.held)
    @rule(data=st.data(), repeat=st.booleans())
    def deliver_some(self, data: Any, repeat: bool) -> None:
        """In any order; and it may come again."""
        held = self.layer.held
        chosen = data.draw(st.lists(st.integers(0, len(held) - 1), min_size=1, max_size=6))
        messages = [held[index] for index in chosen]
        if not repeat:
            self.layer.held = [m for index, m in enumerate(held) if index not in chosen]
        self.drive(self.deliver(messages))

    @rule()
    def deliver_all(self) -> None:
        messages, self.layer.held = self.layer.held, []
        self.drive(self.deliver(messages))

    @rule()
    def lose_all(self) -> None:
        self.layer.held.clear()

    async def meet(self, fate: str, before: int) -> None:
        await self.settle()
        new, self.layer.held = self.layer.held[before:], self.layer.held[:before]
        if fate == "held":
            self.layer.held += new
        elif fate != "lost":
            await self.deliver(new * (2 if fate == "delivered twice" else 1))

    async def deliver(self, messages: list[Message]) -> None:
        for message in messages:
            await self.layer.let_go(*message)

    # Clients

    @rule(number=NUMBERS, published=st.integers(0, 2), forgets=st.booleans())
    def come_back(self, number: int, published: int, forgets: bool) -> None:
        """After a time offline, in which others went on."""
        self.drop(number)
        for _ in range(published):
            self.publish_to_all(1, False, "delivered")
        self.connect(number, forgets)

    @rule(number=NUMBERS, forgets=st.booleans())
    def connect(self, number: int, forgets: bool) -> None:
        device = self.devices[number]
        if not device.is_gone:
            return
        if forgets:
            self.look()
            device.forget()
        for channel in device.channels:
            device.began.setdefault(channel, delivered(device.user, channel))
        self.drive(self.connect_again(device))

    async def connect_again(self, device: Device) -> None:
        await device.end()
        await device.connect()

    @rule(number=NUMBERS)
    def drop(self, number: int) -> None:
        self.drive(self.devices[number].end())

    @rule(number=NUMBERS)
    def block(self, number: int) -> None:
        self.devices[number].block()

    @rule(number=NUMBERS)
    def unblock(self, number: int) -> None:
        self.devices[number].unblock()
        self.drive(self.nothing())

    @rule(number=NUMBERS, published=st.integers(1, 4))
    def fall_behind(self, number: int, published: int) -> None:
        self.block(number)
        self.publish_to_all(published, False, "delivered")
        self.unblock(number)

    @rule(number=NUMBERS)
    def ping(self, number: int) -> None:
        device = self.devices[number]
        if device.is_gone or device.is_blocked:
            return
        connection = device.connection(self.hub)
        connection.session._ping_at = connection.session.deadline = -1000.0
        self.drive(self.visit(device))

    async def visit(self, device: Device) -> None:
        self.hub._visit(device.connection(self.hub))

    @rule(number=NUMBERS, published=st.integers(1, 2))
    def answer_late(self, number: int, published: int) -> None:
        """The pong to a ping after which more was written, or could not be."""
        self.publish_to_all(1, False, "delivered")
        self.ping(number)
        self.block(number)
        self.publish_to_all(published, False, "delivered")
        self.pong(number)
        self.flush()

    @rule(number=NUMBERS)
    def pong(self, number: int) -> None:
        device = self.devices[number]
        if device.pings and not device.is_gone:
            device.pings = 0
            device.pong()
            self.drive(self.nothing())

    @rule(number=NUMBERS, channel=st.integers(0, 1))
    def acknowledge(self, number: int, channel: int) -> None:
        device = self.devices[number]
        if device.is_gone or device.is_blocked:
            return
        name = device.channels[channel]
        self.drive(device.rpc("ack", channel=name, offset=device.positions[name].offset))

    # The server

    @rule()
    def check(self) -> None:
        self.drive(self.hub.check())

    @rule()
    def flush(self) -> None:
        self.look()
        self.drive(self.hub.flush())
        self.acknowledged_was_received()

    @rule()
    def kill_the_server(self) -> None:
        """Everything it had not written is lost."""
        self.drive(self.kill())
        self.hub = self.drive(get_hub())

    async def kill(self) -> None:
        await self.hub._loops.stop()
        for device in self.devices:
            await device.break_off()
        await asyncio.gather(*self.hub.repairs.tasks, return_exceptions=True)
        del hub_package._hubs[self.loop]
        announcer.use_loop(self.loop)

    # What always holds

    def look(self) -> None:
        for device in self.devices:
            for channel in device.channels:
                self.seen[device.user.pk, channel] |= set(device.offsets(channel))

    @invariant()
    def nobody_sees_what_is_not_there_or_not_theirs(self) -> None:
        self.look()
        rows = Notification.objects.filter(offset__isnull=False)
        published = {
            (name, offset): title
            for name, offset, title in rows.values_list("stream__name", "offset", "title")
        }
        for device in self.devices:
            assert not device.violations
            assert not device.unrecovered
            for found in device.publications:
                assert found.channel in device.channels, "P6"
                assert published[found.channel, found.offset] == found.title

    @invariant()
    def each_offset_comes_once_ascending_and_none_is_left_out(self) -> None:
        for device in self.devices:
            for channel in device.channels:
                offsets = device.offsets(channel)
                assert offsets == sorted(set(offsets)), "P3"
                if offsets:
                    owed = lasting(channel, device.began[channel], offsets[-1])
                    assert owed <= set(offsets), "P3"

    def acknowledged_was_received(self) -> None:
        rows = Subscription.objects.values_list("user", "stream__name", "since", "delivered")
        for user_id, channel, since, upto in rows:
            assert lasting(channel, since, upto) <= self.seen[user_id, channel], "P1"

    # In the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "hub"):
                self.in_the_end_everybody_has_everything()
        finally:
            self.loop.run_until_complete(shutdown())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            for model in (Worker, Subscription, Notification, Stream, get_user_model()):
                model._default_manager.all().delete()
            announcer.flush(5)  # what that has told belongs to this run

    def in_the_end_everybody_has_everything(self) -> None:
        for device in self.devices:
            device.unblock()
        sequence_waiting()
        self.drive(self.nothing())
        self.layer.held.clear()
        self.drive(self.hub.check())
        for device in self.devices:
            if not device.is_gone:
                self.has_everything(device)
        self.flush()
        for user in self.users:
            device = Device(user)
            self.devices.append(device)
            for channel in device.channels:
                device.began[channel] = delivered(user, channel)
            self.drive(device.connect())
            self.has_everything(device)
        self.nobody_sees_what_is_not_there_or_not_theirs()
        self.each_offset_comes_once_ascending_and_none_is_left_out()
        for user in self.users:
            for channel in (f"user:{user.pk}", "broadcast"):
                assert lasting(channel, 0) <= self.seen[user.pk, channel], "P1"
        self.drive(self.hang_up())

    def has_everything(self, device: Device) -> None:
        for channel in device.channels:
            owed = lasting(channel, device.began[channel])
            assert owed <= set(device.offsets(channel)), "P1"

    async def hang_up(self) -> None:
        for device in self.devices:
            await device.end()


def life(expires: bool) -> dict[str, Any]:
    return {"expires_at": timezone.now() + timedelta(days=1)} if expires else {}


def lasting(channel: str, after: int, upto: int = 2**62) -> set[int]:
    """Offsets of what is published in a channel and never expires."""
    rows = Notification.objects.filter(
        stream__name=channel, offset__gt=after, offset__lte=upto, expires_at=None
    )
    return {offset for offset in rows.values_list("offset", flat=True) if offset is not None}


def delivered(user: Any, channel: str) -> int:
    rows = Subscription.objects.filter(user=user, stream__name=channel)
    return rows.values_list("delivered", flat=True).first() or 0


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_twice_or_out_of_order(settings: Any) -> None:
    settings.NOTIFICATIONS = QUIET
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER}}
    run_state_machine_as_test(Machine, settings=SETTINGS)


SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
