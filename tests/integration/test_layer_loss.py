"""Delivery continues while Redis is down, hanging, partitioned, slow, full or emptied (P4).

Hints resume afterwards. The hub runs in the test's own process, on both layers of channels-redis
and a real Redis.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest
from channels.layers import channel_layers
from prometheus_client import REGISTRY
from redis import Redis as Commands

from notifications import broadcast
from notifications.database.lanes import in_database
from notifications.hub import Hub
from tests.integration.partition import Relay
from tests.integration.processes import Redis
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

LAYERS = {
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
}

LAYER_TIMEOUT = 0.5

#: Seconds; several rounds of joining groups and of probes on a busy machine.
PATIENCE = 40.0


class Fault(NamedTuple):
    begin: Callable[[Redis, Relay], object]
    end: Callable[[Redis, Relay], object]


def fill_memory(redis: Redis, relay: Relay) -> None:
    with Commands(port=redis.port) as commands:
        commands.config_set("maxmemory", 1)


def free_memory(redis: Redis, relay: Relay) -> None:
    with Commands(port=redis.port) as commands:
        commands.config_set("maxmemory", 0)


def slow_down(redis: Redis, relay: Relay) -> None:
    relay.delay = 3 * LAYER_TIMEOUT


def speed_up(redis: Redis, relay: Relay) -> None:
    relay.delay = 0


FAULTS = {
    "killed": Fault(lambda redis, relay: redis.kill(), lambda redis, relay: redis.start()),
    "hanging": Fault(lambda redis, relay: redis.freeze(), lambda redis, relay: redis.thaw()),
    "partitioned": Fault(lambda redis, relay: relay.silence(), lambda redis, relay: relay.heal()),
    "slow": Fault(slow_down, speed_up),
    "full": Fault(fill_memory, free_memory),
}

#: PUBLISH needs no memory, so the pub/sub layer does not notice a full Redis.
CASES = [
    (layer, fault) for layer in LAYERS for fault in FAULTS if (layer, fault) != ("pubsub", "full")
]


@pytest.fixture
def relay(redis: Redis) -> Iterator[Relay]:
    relay = Relay(redis.port)
    yield relay
    relay.close()


@pytest.fixture
def kind() -> str:
    return "pubsub"


@pytest.fixture
async def hub(settings: Any, relay: Relay, kind: str) -> AsyncIterator[Hub]:
    async with running_hub(
        settings,
        LAYERS[kind],
        hosts=[f"redis://127.0.0.1:{relay.port}/0"],
        CHECK_INTERVAL=0.5,
        CHECK_INTERVAL_DOWN=0.2,
        LAYER_TIMEOUT=LAYER_TIMEOUT,
    ) as hub:
        yield hub
        layer: Any = channel_layers["default"]
        if kind == "core":
            await layer.close_pools()


def is_up() -> bool:
    return REGISTRY.get_sample_value("notifications_layer_up") == 1


async def wait_until_hints_arrive(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, peer: Peer
) -> list[str]:
    """Publish until a hint arrives, and return the titles of all publications that it took."""
    offsets: set[int] = set()
    hear = hub.layer_messages.handle_publication

    def listen(name: str, epoch: str, offset: int, data: bytes, *times: int) -> None:
        offsets.add(offset)
        hear(name, epoch, offset, data, *times)

    monkeypatch.setattr(hub.layer_messages, "handle_publication", listen)
    deadline = time.monotonic() + PATIENCE
    titles: list[str] = []
    while True:
        titles.append(f"heard {len(titles)}")
        published = await in_database(broadcast, titles[-1])
        # It is delivered with or without its hint: a single hint may always be lost (P4).
        await until(lambda: titles[-1] in peer.titles, "its delivery", PATIENCE)
        if published.offset in offsets:
            return titles
        assert time.monotonic() < deadline, "hints do not come again"


@pytest.mark.parametrize(("kind", "fault"), CASES)
async def test_delivery_continues_without_redis_and_hints_resume(
    hub: Hub,
    redis: Redis,
    relay: Relay,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    user = await in_database(make_user)
    peer = await Peer.of(user)
    await peer.connect()
    await until(lambda: hub.probe.is_joined, "the first beat")
    await in_database(broadcast, "before")
    await peer.wait_for("before")

    await asyncio.to_thread(FAULTS[fault].begin, redis, relay)
    try:
        began = time.monotonic()
        for number in range(20):
            await in_database(broadcast, f"without {number}")
        # If each publication waited for the layer, twenty would take 20 times its timeout.
        assert time.monotonic() - began < 20 * LAYER_TIMEOUT
        expected = ["before", *(f"without {number}" for number in range(20))]
        await until(lambda: len(peer.titles) >= len(expected), "delivery", PATIENCE)
        assert peer.titles == expected
        await until(lambda: not is_up(), "noticing", PATIENCE)
        newcomer = await Peer.of(user)
        await newcomer.connect()
        assert newcomer.titles[-1] == expected[-1]
    finally:
        await asyncio.to_thread(FAULTS[fault].end, redis, relay)

    await until(is_up, "noticing that it is back", PATIENCE)
    await until(lambda: hub.streams.groups.has_joined_all, "joining again", PATIENCE)
    heard = await wait_until_hints_arrive(hub, monkeypatch, peer)
    assert peer.titles == [*expected, *heard]
    assert peer.violations == []
    ours = [record for record in caplog.records if record.name.startswith("notifications")]
    assert not any(record.exc_info for record in ours)
    texts = [record.getMessage() for record in ours]
    # Logged once, unless this process was suspended for longer than the layer's timeout.
    downs = sum("The channel layer is down" in text for text in texts)
    assert 1 <= downs <= 1 + len(heard)
    assert sum("The channel layer is up again" in text for text in texts) == downs
    assert sum("The channel layer fails" in text for text in texts) <= downs


@pytest.mark.parametrize("kind", ["core"])
async def test_groups_are_joined_again_after_redis_was_emptied(
    hub: Hub, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The groups of the core layer are lost without any error."""
    caplog.set_level(logging.INFO)
    peer = await Peer.of(await in_database(make_user))
    await peer.connect()
    await until(lambda: hub.probe.is_joined, "the first beat")
    with Commands(port=redis.port) as commands:
        commands.flushall()
    await until(lambda: "is up again" in caplog.text, "noticing", PATIENCE)
    await wait_until_hints_arrive(hub, monkeypatch, peer)


async def test_a_receiver_that_waits_on_a_replaced_connection_is_replaced(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If two tasks of the pub/sub layer connect at once, one of them waits forever."""
    peer = await Peer.of(await in_database(make_user))
    await peer.connect()
    await until(lambda: hub.probe.is_joined, "the first beat")
    layer: Any = channel_layers["default"]
    (shard,) = layer._get_layer()._shards
    shard._receive_task.cancel()
    shard._receive_task = asyncio.create_task(asyncio.Event().wait())
    await until(lambda: not is_up(), "noticing", PATIENCE)
    await until(is_up, "noticing that it is back", PATIENCE)
    await wait_until_hints_arrive(hub, monkeypatch, peer)
