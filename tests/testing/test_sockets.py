"""The client of the websocket, in both kinds of test cases and with both test runners."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import TestCase, TransactionTestCase, override_settings

from notifications import abroadcast, anotify, inbox, notify
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.testing import NotificationSocket, Refused
from tests.rooms import make_user

TOKENS = override_settings(
    NOTIFICATIONS={"TOKEN_SECRET": "a secret of the tests that is long enough", "TOPICS": ["news"]}
)


def is_news(user: object, slug: str) -> bool:
    return slug == "news"


async def amake_user(name: str = "ada"):
    return await sync_to_async(make_user)(name)


class Sockets:
    """What is the same in both kinds of test cases."""

    async def test_a_user_receives_what_is_sent(self) -> None:
        user = await amake_user()
        async with NotificationSocket(user) as socket:
            assert socket.unread == 0
            assert socket.channels == ["broadcast", f"user:{user.pk}"]
            await anotify(user, "Shipped", url="/orders/7/")
            channel, offset, data = await socket.receive()
            assert (channel, offset) == (f"user:{user.pk}", 1)
            assert (data["title"], data["url"]) == ("Shipped", "/orders/7/")
            await abroadcast("Maintenance")
            assert (await socket.receive()).data["title"] == "Maintenance"
            await socket.assert_nothing_received()

    async def test_what_was_sent_before_is_recovered(self) -> None:
        user = await amake_user()
        await anotify(user, "first")
        async with NotificationSocket(user) as socket:
            assert socket.unread == 1
            assert (await socket.receive()).data["title"] == "first"

    async def test_a_device_may_come_back(self) -> None:
        device = NotificationSocket(await amake_user())
        async with device:
            await abroadcast("first")
            assert (await device.receive()).data["title"] == "first"
        async with device:
            await abroadcast("second")
            titles = [(await device.receive()).data["title"] for _ in range(2)]
            assert titles == ["first", "second"]  # it has not acknowledged the first one

    async def test_procedures_change_the_inbox(self) -> None:
        user = await amake_user()
        (pk,) = await anotify(user, "Shipped")
        async with NotificationSocket(user) as socket, NotificationSocket(user) as other:
            assert await socket.rpc("unread") == {"unread": 1}
            await socket.rpc("read", ids=[pk])
            message = await other.receive_message()
            assert (message["type"], message["ids"]) == ("read", [pk])
            assert await sync_to_async(inbox.unread_count)(user) == 0
            with pytest.raises(Refused) as refused:
                await socket.rpc("nonsense")
            assert refused.value.code == 104

    @TOKENS
    async def test_a_token_connects(self) -> None:
        user = await amake_user()
        async with NotificationSocket(token=make_token(user)) as socket:
            assert socket.connected["data"]["user"]["name"] == "ada"

    @TOKENS
    async def test_who_may_not_connect_is_refused(self) -> None:
        user = await amake_user()
        for token, code in ((make_token(user, -60), 109), ("nonsense", 3500), ("", 101)):
            with pytest.raises(Refused) as refused:
                async with NotificationSocket(token=token):
                    pass
            assert refused.value.code == code

    async def test_a_foreign_page_is_refused(self) -> None:
        headers = [(b"origin", b"https://evil.example")]
        with pytest.raises(Refused, match="handshake"):
            async with NotificationSocket(await amake_user(), headers=headers):
                pass

    @TOKENS
    async def test_topics_can_be_subscribed_to(self) -> None:
        user = await amake_user()
        async with NotificationSocket(user) as socket:
            await socket.call(subscribe={"channel": "topic:news"})
            await abroadcast("News", to="topic:news")
            assert (await socket.receive()).channel == "topic:news"
            with pytest.raises(Refused) as refused:
                await socket.call(subscribe={"channel": "topic:other"})
            assert refused.value.code == 103

    @override_settings(NOTIFICATIONS={"TOPIC_PERMISSION": f"{__name__}.is_news"})
    async def test_the_host_decides_about_topics(self) -> None:
        async with NotificationSocket(await amake_user()) as socket:
            await socket.call(subscribe={"channel": "topic:news"})
            with pytest.raises(Refused):
                await socket.call(subscribe={"channel": "topic:other"})

    async def test_a_user_who_is_deactivated_is_disconnected(self) -> None:
        user = await amake_user()
        async with NotificationSocket(user) as socket:
            user.is_active = False
            await user.asave()
            assert await socket.close_code() == 3503
            with pytest.raises(Refused):
                await socket.receive()

    async def test_what_does_not_come_is_told(self) -> None:
        user = await amake_user()
        async with NotificationSocket(user) as socket:
            with pytest.raises(AssertionError, match="No publication came"):
                await socket.receive(timeout=0.05)
            await anotify(user, "Shipped")
            with pytest.raises(AssertionError, match="Shipped"):
                await socket.assert_nothing_received(seconds=5)
            await anotify(user, "seen")
            with pytest.raises(AssertionError, match=r"No message came.*seen"):
                await socket.receive_message(timeout=0.3)


#: A layer that is down.
REDIS = {
    "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "CONFIG": {"hosts": ["redis://127.0.0.1:9"]},
}


class TestSocketsInTestCase(Sockets, TestCase):
    @override_settings(CHANNEL_LAYERS={"default": REDIS})
    async def test_the_layer_of_the_host_is_not_used(self) -> None:
        async with NotificationSocket(await amake_user()):
            assert isinstance(get_channel_layer(), InMemoryChannelLayer)
        assert settings.CHANNEL_LAYERS == {"default": REDIS}


class TestSocketsInTransactionTestCase(Sockets, TransactionTestCase):
    pass


@pytest.mark.django_db(transaction=True)
async def test_sockets_work_in_the_loop_of_pytest() -> None:
    user = await amake_user()
    async with NotificationSocket(user) as socket:
        await sync_to_async(notify)(user, "Shipped")
        assert (await socket.receive()).data["title"] == "Shipped"


@pytest.mark.django_db(transaction=True)
async def test_a_socket_opens_where_the_settings_say() -> None:
    user = await amake_user()
    for transports in ({"websocket": "/ws/"}, {"websocket": "/live/socket"}):
        with override_settings(NOTIFICATIONS={"TRANSPORTS": transports}):
            async with NotificationSocket(user) as socket:
                assert socket.unread == 0
    with override_settings(NOTIFICATIONS={"TRANSPORTS": {"websocket": None}}):
        with pytest.raises(ImproperlyConfigured, match="TRANSPORTS"):
            async with NotificationSocket(user):
                pass
        with pytest.raises(Refused, match="the handshake was refused"):
            async with NotificationSocket(user, path="/connection/websocket"):
                pass


@pytest.mark.django_db(transaction=True)
def test_a_refused_socket_leaves_the_database_threads_to_other_tests() -> None:
    user = make_user("ada")

    async def be_refused() -> None:
        with pytest.raises(Refused):
            async with NotificationSocket(user, path="/no/such/path"):
                pass

    asyncio.run(be_refused())
    assert asyncio.run(in_database(int)) == 0
