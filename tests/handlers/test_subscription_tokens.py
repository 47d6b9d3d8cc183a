"""Subscription tokens: what they grant, until when, and to whom (P6)."""

import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from notifications import apublish
from notifications.connect.tokens import make_subscription_token, make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.namespaces import UnknownChannel
from tests.hub.helpers import peer_of
from tests.peers import QUIET, Peer, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = str(QUIET["TOKEN_SECRET"])

NAMESPACES: dict[str, dict[str, Any]] = {
    "secret": {"durable": True, "subscribe": "token", "publish": "subscribers"},
    "fleeting": {"subscribe": "token"},
    "closed": {"subscribe": "nobody"},
    "open": {"durable": True},
}

#: Seconds after its expiry that a token still keeps a subscription.
DELAY = 0.5


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, NAMESPACES=NAMESPACES, EXPIRED_CLOSE_DELAY=DELAY) as running:
        yield running


@pytest.fixture
async def user(hub: Hub) -> Any:
    return await in_database(make_user)


@pytest.fixture
async def peer(user: Any) -> Peer:
    return await peer_of(user)


def sign(key: str = SECRET, **claims: Any) -> str:
    """Return a token as another backend signs it."""
    return jwt.encode(claims, key, "HS256")


async def subscribe(peer: Peer, channel: str, token: str, **more: Any) -> dict[str, Any]:
    reply = await peer.call(subscribe={"channel": channel, "token": token, **more})
    assert "subscribe" in reply, reply
    return dict(reply["subscribe"])


@pytest.mark.parametrize("channel", ["secret:1", "fleeting:1", "closed:1", "open:1"])
async def test_a_token_grants_its_channel(peer: Peer, user: Any, channel: str) -> None:
    result = await subscribe(peer, channel, make_subscription_token(user, channel, 60))
    assert result["expires"] is True
    assert 58 <= result["ttl"] <= 60
    await apublish(channel, "secret")
    await until(lambda: peer.pushes)
    assert peer.pushes[0]["pub"]["data"] == "secret"


async def test_a_token_may_never_expire(peer: Peer, user: Any) -> None:
    result = await subscribe(peer, "secret:1", make_subscription_token(user, "secret:1", None))
    assert "expires" not in result
    assert "ttl" not in result
    huge = sign(sub=str(user.pk), channel="secret:2", exp=10**300)
    assert (await subscribe(peer, "secret:2", huge))["ttl"] == 2**31 - 1


async def test_without_a_token_such_a_channel_is_refused(peer: Peer) -> None:
    for channel in ("secret:1", "fleeting:1", "closed:1"):
        assert await peer.error(subscribe={"channel": channel}) == 103


async def test_a_wrong_token_is_refused_even_where_no_token_is_needed(
    peer: Peer, user: Any
) -> None:
    other = await in_database(make_user, "other")
    me = str(user.pk)
    wrong = [
        make_subscription_token(user, "open:2"),
        make_subscription_token(other, "open:1"),
        make_token(user),
        sign("another key that is long enough for the algorithm", sub=me, channel="open:1"),
        sign(sub=me, channel="open:1", aud="elsewhere"),
        sign(sub=me, channel=["open:1"]),
        sign(sub=me, channel="open:1", exp="soon"),
        sign(channel="open:1"),
        jwt.encode({"sub": me, "channel": "open:1"}, "", "none"),
        "open:1",
        "a.b.c",
    ]
    for token in wrong:
        assert await peer.error(subscribe={"channel": "open:1", "token": token}) == 103, token
    assert peer.pushes == []
    assert "subscribe" in await peer.call(subscribe={"channel": "open:1"})


async def test_an_expired_token_is_told(peer: Peer, user: Any) -> None:
    expired = make_subscription_token(user, "secret:1", -1)
    assert await peer.error(subscribe={"channel": "secret:1", "token": expired}) == 109


async def test_a_subscription_token_is_no_connection_token(user: Any, hub: Hub) -> None:
    peer = Peer(token=make_subscription_token(user, "secret:1"))
    await peer.open()
    peer.ask(connect=peer.connect_request())
    assert await peer.wait_closed() == 3500


async def test_topics_have_no_tokens(peer: Peer) -> None:
    assert await peer.error(subscribe={"channel": "topic:news", "token": "x"}) == 108
    assert await peer.error(sub_refresh={"channel": "topic:news", "token": "x"}) == 108


async def test_p6_an_expired_subscription_ends_and_a_new_token_resumes_it(
    peer: Peer, user: Any, hub: Hub
) -> None:
    token = make_subscription_token(user, "secret:1", 2)
    result = await subscribe(peer, "secret:1", token)
    expires = jwt.decode(token, options={"verify_signature": False})["exp"]
    await until(lambda: peer.pushes)
    assert expires + DELAY <= time.time() < expires + DELAY + 2
    expired = {"code": 2501, "reason": "subscription expired"}
    assert peer.pushes == [{"channel": "secret:1", "unsubscribe": expired}]
    await apublish("secret:1", "missed")
    position = {"recover": True, "epoch": result["epoch"], "offset": 0}
    token = make_subscription_token(user, "secret:1")
    again = await subscribe(peer, "secret:1", token, **position)
    assert [one["data"] for one in again["publications"]] == ["missed"]


async def test_a_refreshed_subscription_lives_on(peer: Peer, user: Any, hub: Hub) -> None:
    await subscribe(peer, "secret:1", make_subscription_token(user, "secret:1", 2))
    new = make_subscription_token(user, "secret:1", 3600)
    reply = await peer.call(sub_refresh={"channel": "secret:1", "token": new})
    assert reply["sub_refresh"]["expires"] is True
    assert 3598 <= reply["sub_refresh"]["ttl"] <= 3600
    for_ever = make_subscription_token(user, "secret:1", None)
    reply = await peer.call(sub_refresh={"channel": "secret:1", "token": for_ever})
    assert reply["sub_refresh"] == {}
    # A subscription that was not refreshed ends at the time when this one would have ended.
    await subscribe(peer, "fleeting:1", make_subscription_token(user, "fleeting:1", 2))
    await until(lambda: peer.pushes)
    assert [push["channel"] for push in peer.pushes] == ["fleeting:1"]
    assert set(peer.connection(hub).readers) >= {"secret:1"}


async def test_a_wrong_token_refreshes_nothing(peer: Peer, user: Any) -> None:
    token = make_subscription_token(user, "secret:1")
    await subscribe(peer, "secret:1", token)
    await peer.call(subscribe={"channel": "open:1"})

    async def refusal(channel: str, token: str, **more: Any) -> int:
        return await peer.error(sub_refresh={"channel": channel, "token": token, **more})

    expired = make_subscription_token(user, "secret:1", -1)
    assert await refusal("secret:1", expired) == 109
    assert await refusal("secret:1", make_subscription_token(user, "secret:2")) == 103
    assert await refusal("secret:1", "") == 107
    assert await refusal("secret:2", make_subscription_token(user, "secret:2")) == 103
    assert await refusal("open:1", make_subscription_token(user, "open:1")) == 103
    assert await refusal("unknown:1", token) == 102
    assert await refusal("secret:1", token, type=1) == 108
    assert peer.pushes == []


async def test_unsubscribing_ends_the_wait_for_the_expiry(peer: Peer, user: Any) -> None:
    token = make_subscription_token(user, "secret:1", 2)
    await subscribe(peer, "secret:1", token)
    await peer.call(unsubscribe={"channel": "secret:1"})
    await subscribe(peer, "fleeting:1", make_subscription_token(user, "fleeting:1", 2))
    await until(lambda: peer.pushes)
    assert [push["channel"] for push in peer.pushes] == ["fleeting:1"]


async def test_p6_the_check_of_rights_leaves_a_token_alone(peer: Peer, user: Any, hub: Hub) -> None:
    await subscribe(peer, "closed:1", make_subscription_token(user, "closed:1"))
    await hub.rights.check_all()
    await apublish("closed:1", 1)
    await until(lambda: peer.pushes)
    assert "pub" in peer.pushes[0]


async def test_the_info_of_a_token_goes_with_what_the_client_publishes(
    peer: Peer, user: Any, hub: Hub
) -> None:
    token = make_subscription_token(user, "secret:1", info={"nick": "ada"})
    await subscribe(peer, "secret:1", token)
    await peer.call(publish={"channel": "secret:1", "data": 1})
    await until(lambda: peer.pushes)
    client = peer.connection(hub).client
    info = {"user": str(user.pk), "client": client, "chan_info": {"nick": "ada"}}
    assert peer.pushes[0]["pub"]["info"] == info


async def test_a_token_is_made_for_channels_of_namespaces_only(user: Any) -> None:
    for channel in ("unknown:1", "topic:news", "secret"):
        with pytest.raises(UnknownChannel):
            make_subscription_token(user, channel)


async def test_a_token_needs_the_secret(user: Any, settings: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": NAMESPACES}
    with pytest.raises(ValueError, match="TOKEN_SECRET"):
        make_subscription_token(user, "secret:1")
