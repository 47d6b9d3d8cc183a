"""Frames that are sent to descriptors, in slices, while sockets close, join, ping and block."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from notifications import broadcast
from notifications.database.lanes import in_database
from notifications.hub import Hub, LocalStream
from notifications.hub.delivery.fan_out import FanOut
from notifications.hub.sockets.connection import Reader
from notifications.server.bounded_socket import BoundedSocket
from notifications.streams.history import read_page
from tests.hub.delivery.devices import Device, devices_of
from tests.hub.helpers import counted_statements, peer_of, silently
from tests.peers import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers become direct, and a fan-out is cut into slices, from three readers on."""
    monkeypatch.setattr("notifications.server.descriptors.FEW", 0)
    monkeypatch.setattr("notifications.hub.delivery.stream.FEW", 2)
    monkeypatch.setattr("notifications.hub.delivery.repairs.SLICE", 2)


def direct_in(stream: LocalStream) -> list[Reader]:
    return [reader for each in stream.direct.values() for reader in each.readers]


async def publish(devices: Sequence[Device], title: str) -> None:
    await in_database(broadcast, title)
    for device in devices:
        assert await device.titles(1) == [title]


async def begin(hub: Hub, title: str) -> tuple[LocalStream, FanOut]:
    """Begin to fan out a notification that no hint has announced."""
    await silently(broadcast, title)
    stream = hub.streams.by_name["broadcast"]
    page = await in_database(read_page, stream.id, stream.top, 10)
    stream.busy = True
    return stream, FanOut(stream, page.publications, 0, hub.streams.catch_up.fall_behind)


def finish(stream: LocalStream, fan_out: FanOut) -> None:
    while fan_out.write_some(2):
        pass
    fan_out.end()
    stream.busy = False


def of(devices: Sequence[Device], reader: Reader) -> Device:
    (found,) = [each for each in devices if each.client == reader.connection.client]
    return found


async def test_readers_of_our_server_are_direct_and_others_are_not(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    async with devices_of(user, 4) as (_, _, devices):
        await publish(devices, "one")
        await publish(devices, "two")
        await peer.wait_for("one", "two")
        stream = hub.streams.by_name["broadcast"]
        found = {reader.connection.client for reader in direct_in(stream)}
        assert found == {device.client for device in devices}
        assert len(stream.live) == 5
        assert {reader.sent for reader in stream.live} == {2}


async def test_few_readers_are_not_direct(hub: Hub, user: Any) -> None:
    async with devices_of(user, 2) as (_, _, devices):
        await publish(devices, "one")
        assert not direct_in(hub.streams.by_name["broadcast"])


async def test_a_descriptor_that_closes_between_two_slices_is_not_written_to(
    hub: Hub, user: Any
) -> None:
    """Nor is the socket that gets the same number at once."""
    async with devices_of(user, 6) as (_, _, devices):
        await publish(devices, "one")
        stream, fan_out = await begin(hub, "two")
        assert fan_out.write_some(2)
        (direct,) = stream.direct.values()
        victims = [direct.undone()[0], direct.undone()[-1], direct.readers[0]]
        numbers = [direct.descriptors[reader.index] for reader in victims]
        dropped = [of(devices, reader) for reader in victims]
        strangers = [socket.socketpair() for _ in victims]
        for device in dropped:
            device.drop()
        await until(lambda: not any(map(is_open, numbers)))
        for number, (ours, _) in zip(numbers, strangers, strict=True):
            os.dup2(ours.fileno(), number)
            ours.close()
        finish(stream, fan_out)
        for number, (_, theirs) in zip(numbers, strangers, strict=True):
            os.close(number)
            assert theirs.recv(1024) == b""
            theirs.close()
        rest = [device for device in devices if device not in dropped]
        for device in rest:
            assert await device.titles(1) == ["two"]
        await publish(rest, "three")


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


async def test_a_ping_between_two_slices_keeps_its_place(hub: Hub, user: Any) -> None:
    async with devices_of(user, 5) as (_, _, devices):
        await publish(devices, "one")
        stream, fan_out = await begin(hub, "two")
        assert fan_out.write_some(2)
        (direct,) = stream.direct.values()
        before, after = direct.undone()[0], direct.readers[0]
        for reader in (before, after):
            hub.visit(reader.connection, now=reader.connection.session.deadline)
            assert reader.direct is None, "the transport has the ping"
        finish(stream, fan_out)
        first, second = of(devices, before), of(devices, after)
        assert await first.titles(2) == ["ping", "two"]
        assert await second.titles(2) == ["two", "ping"]
        for device in (first, second):
            device.say({})
        await until(lambda: (before.acked, after.acked) == (1, 2), "what was sent before")
        for device in set(devices) - {first, second}:
            assert await device.titles(1) == ["two"]
        await publish(devices, "three")
        assert len(direct_in(stream)) == 5


async def test_a_reader_that_joins_between_two_slices_gets_everything_once(
    hub: Hub, user: Any
) -> None:
    async with devices_of(user, 5) as (port, token, devices):
        await publish(devices, "one")
        stream, fan_out = await begin(hub, "two")
        assert fan_out.write_some(2)
        late = await Device.connect(port, token)  # its reply has both
        finish(stream, fan_out)
        for device in devices:
            assert await device.titles(1) == ["two"]
        await publish([*devices, late], "three")
        late.drop()


@pytest.mark.parametrize("is_done", [True, False])
async def test_a_reader_that_leaves_between_two_slices_takes_no_other_along(
    hub: Hub, user: Any, is_done: bool
) -> None:
    async with devices_of(user, 6) as (_, _, devices):
        await publish(devices, "one")
        stream, fan_out = await begin(hub, "two")
        assert fan_out.write_some(3)
        (direct,) = stream.direct.values()
        leaving = direct.readers[0] if is_done else direct.undone()[0]
        leaving.detach()
        finish(stream, fan_out)
        assert leaving.sent == (2 if is_done else 1)
        for device in devices:
            if device is not of(devices, leaving):
                assert await device.titles(1) == ["two"]
        assert len(stream.live) == 5


async def test_p1_readers_that_an_interrupted_fan_out_has_not_reached_read_history(
    hub: Hub, user: Any
) -> None:
    async with devices_of(user, 5) as (_, _, devices):
        await publish(devices, "one")
        stream, fan_out = await begin(hub, "two")
        assert fan_out.write_some(2)
        fan_out.end()
        stream.busy = False
        for device in devices:
            assert await device.titles(1) == ["two"]
        await until(lambda: len(stream.live) == 5)
        await publish(devices, "three")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Descriptors that were written to, and how much of the data they took, in percent."""
    found: list[tuple[int, int]] = []
    send_to_all = BoundedSocket.send_to_all

    def recording(descriptors: array[int], data: bytes) -> list[int]:
        taken = send_to_all(descriptors, data)
        found.extend(
            (each, count * 100 // len(data)) for each, count in zip(descriptors, taken, strict=True)
        )
        return taken

    monkeypatch.setattr(BoundedSocket, "send_to_all", staticmethod(recording))
    return found


async def test_publications_of_one_turn_leave_in_one_write_per_socket(
    hub: Hub, user: Any, writes: list[tuple[int, int]]
) -> None:
    async with devices_of(user, 5) as (_, _, devices):
        await publish(devices, "one")
        writes.clear()
        for title in ("two", "three", "four"):
            await silently(broadcast, title)
        stream = hub.streams.by_name["broadcast"]
        page = await in_database(read_page, stream.id, 1, 10)
        for offset, data, _ in page.publications:
            hub.layer_messages.handle_publication("broadcast", stream.epoch, offset, data)
        for device in devices:
            assert await device.titles(3) == ["two", "three", "four"]
        assert len(writes) == len(set(writes)) == 5


async def test_publications_announced_during_a_fan_out_follow_it_without_a_query(
    hub: Hub, user: Any
) -> None:
    async with devices_of(user, 5) as (_, _, devices):
        await publish(devices, "1")
        titles = [str(number) for number in range(2, 7)]
        for title in titles:
            await silently(broadcast, title)
        stream = hub.streams.by_name["broadcast"]
        page = await in_database(read_page, stream.id, 1, 10)
        with counted_statements('"notifications_notification"') as statements:
            for offset, data, _ in page.publications:
                hub.layer_messages.handle_publication("broadcast", stream.epoch, offset, data)
                await asyncio.sleep(0)
                assert stream.busy
            for device in devices:
                assert await device.titles(5) == titles
        assert not statements


async def test_of_very_many_announced_publications_the_last_are_read_from_history(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.delivery.stream.MAX_WAITING", 3)
    async with devices_of(user, 4) as (_, _, devices):
        await publish(devices, "1")
        titles = [str(number) for number in range(2, 9)]
        for title in titles:
            await silently(broadcast, title)
        stream = hub.streams.by_name["broadcast"]
        page = await in_database(read_page, stream.id, 1, 10)
        for offset, data, _ in page.publications:
            hub.layer_messages.handle_publication("broadcast", stream.epoch, offset, data)
        assert stream.waiting is not None
        assert len(stream.waiting) == 3
        for device in devices:
            assert await device.titles(7) == titles


async def test_p5_what_a_full_socket_does_not_take_follows_in_order(
    hub: Hub, user: Any, writes: list[tuple[int, int]]
) -> None:
    """The socket takes a part of a frame; its reader falls behind, catches up, and is direct."""
    async with devices_of(user, 4) as (_, _, devices):
        slow, *others = devices
        await publish(devices, "0")
        stream = hub.streams.by_name["broadcast"]
        connection = slow.connection(hub)
        writer: Any = connection.socket.writer
        buffer = socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        writer.transport.get_extra_info("socket").setsockopt(*buffer)
        titles: list[str] = []
        while connection.readers["broadcast"].is_live:
            titles.append(str(len(titles) + 1))
            await in_database(broadcast, titles[-1], data={"text": "x" * 16_000})
            for device in others:
                assert await device.titles(1) == titles[-1:]
        assert len(direct_in(stream)) == 3
        assert any(0 < percent < 100 for _, percent in writes)
        assert await slow.titles(len(titles)) == titles
        await until(lambda: len(stream.live) == 4)
        await publish(devices, "last")
        assert len(direct_in(stream)) == 4


async def test_an_answer_between_two_slices_does_not_overtake(hub: Hub, user: Any) -> None:
    async with devices_of(user, 4) as (_, _, devices):
        await publish(devices, "one")
        stream, fan_out = await begin(hub, "two")
        assert fan_out.write_some(2)
        (direct,) = stream.direct.values()
        asking = of(devices, direct.readers[0])
        asking.say({"id": 2, "ping": {}})
        asked = asking.connection(hub).readers["broadcast"]
        await until(lambda: asked.direct is None)
        finish(stream, fan_out)
        assert await asking.titles(1) == ["two"]
        assert (await asking.next())["id"] == 2
