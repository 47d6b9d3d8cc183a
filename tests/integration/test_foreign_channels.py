"""The Python SDK in channels of namespaces: publications, history, recovery and tokens."""

import asyncio
from collections.abc import Iterator
from typing import Any

import centrifuge  # type: ignore[import-untyped]
import pytest

from tests.client import PATIENCE
from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.integration.test_channels import CHAT, TYPING, VARIABLES
from tests.integration.test_foreign_client import Record, elsewhere, sdk
from tests.sites import Site

pytestmark = pytest.mark.integration

SECRET = "secret:7"


class InChannel(centrifuge.SubscriptionEventHandler):
    """Records what the SDK tells of one subscription."""

    def __init__(self) -> None:
        self.data: list[Any] = []
        self.users: list[str] = []
        self.subscribing: list[int] = []
        self.subscribed: list[bool] = []

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        self.data.append(ctx.pub.data)
        self.users.append(ctx.pub.info.user if ctx.pub.info else "")

    async def on_subscribing(self, ctx: centrifuge.SubscribingContext) -> None:
        self.subscribing.append(ctx.code)

    async def on_subscribed(self, ctx: centrifuge.SubscribedContext) -> None:
        self.subscribed.append(ctx.recovered)


@pytest.fixture(scope="module")
def shared_place(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    variables = {
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        "NOTIFICATIONS_EXPIRED_CLOSE_DELAY": "1",
        **VARIABLES,
    }
    with open_place(site, tmp_path_factory.mktemp("sdk"), **variables) as place:
        yield place


async def test_the_sdk_publishes_and_receives_in_both_kinds_of_channels(place: Place) -> None:
    person, other, record = place.person(), place.person(), Record()
    async with sdk(place, person, record) as client, sdk(place, other, Record()) as second:
        for channel in (CHAT, TYPING):
            seen = InChannel()
            subscription = client.new_subscription(channel, events=seen)
            await subscription.subscribe()
            await subscription.ready(PATIENCE)
            await subscription.publish({"text": "mine"})
            theirs = second.new_subscription(channel)
            await theirs.subscribe()
            await theirs.ready(PATIENCE)
            await theirs.publish("theirs")
            await record.wait(lambda seen=seen: len(seen.data) == 2, "both")  # type: ignore[misc]
            assert seen.data == [{"text": "mine"}, "theirs"]
            assert seen.users == [str(person.id), str(other.id)]
        history = await client.get_subscription(CHAT).history(limit=-1)
        assert [one.data for one in history.publications] == [{"text": "mine"}, "theirs"]


async def test_the_sdk_recovers_a_channel_after_its_connection_was_cut(place: Place) -> None:
    person, record, seen = place.person(), Record(), InChannel()
    async with sdk(place, person, record) as client:
        subscription = client.new_subscription("chat:8", events=seen)
        await subscription.subscribe()
        await subscription.ready(PATIENCE)
        await elsewhere(place.other.run, jobs.publish_to, "chat:8", [1])
        await record.wait(lambda: seen.data == [1], "the first")
        await client.disconnect()
        await elsewhere(place.other.run, jobs.publish_to, "chat:8", [2, 3])
        await client.connect()
        await record.wait(lambda: seen.data == [1, 2, 3], "what was missed")
        assert seen.subscribed == [False, True]


async def test_the_sdk_refreshes_the_token_of_a_subscription(place: Place) -> None:
    person, record, seen = place.person(), Record(), InChannel()
    asked: list[str] = []

    async def get_token(channel: str) -> str:
        asked.append(channel)
        return await asyncio.to_thread(
            place.other.run, jobs.subscription_token, person.id, channel, 2
        )

    async with sdk(place, person, record) as client:
        subscription = client.new_subscription(SECRET, events=seen, get_token=get_token)
        await subscription.subscribe()
        await subscription.ready(PATIENCE)
        await record.wait(lambda: len(asked) == 3, "two refreshes")
        assert seen.subscribing == [0]
        assert asked == [SECRET] * 3


async def test_the_sdk_subscribes_again_when_a_token_has_expired(place: Place) -> None:
    """A client that does not refresh in time gets 2501, and then asks for a new token."""
    person, record, seen = place.person(), Record(), InChannel()
    asked: list[str] = []

    async def get_token(channel: str) -> str:
        asked.append(channel)
        if len(asked) == 2:  # the refresh hangs until the subscription has ended
            await record.wait(lambda: 2501 in seen.subscribing, "the end")
        return await asyncio.to_thread(
            place.other.run,
            jobs.subscription_token,
            person.id,
            channel,
            2 if len(asked) < 3 else 60,
        )

    async with sdk(place, person, record) as client:
        subscription = client.new_subscription("secret:8", events=seen, get_token=get_token)
        await subscription.subscribe()
        await subscription.ready(PATIENCE)
        await record.wait(lambda: len(seen.subscribed) == 2, "a second subscription")
        assert seen.subscribing == [0, 2501]
        await elsewhere(place.other.run, jobs.publish_to, "secret:8", ["again"])
        await record.wait(lambda: seen.data == ["again"], "a publication")
