"""`presence` and `presence_stats`: who may ask, and what is answered."""

from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from django.db import OperationalError

from notifications.conf import app_settings
from notifications.connect.tokens import ALGORITHM, MAX_INFO
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Member
from notifications.protocol.codes import INTERNAL
from tests.hub.helpers import peer_of
from tests.hub.test_members import token_of
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

#: Names of users to whom ``is_host`` says yes.
hosts: set[str] = set()


def is_host(user: Any, channel: str) -> bool:
    """A right of the host's project."""
    return user.username in hosts


NAMESPACES = {
    "open": {"presence": "authenticated"},
    "chat": {"presence": "subscribers", "durable": True},
    "typing": {"presence": "subscribers"},
    "party": {"presence": f"{__name__}.is_host", "show_names": True, "publish": "authenticated"},
    "secret": {"join_leave": True},
    "plain": {},
}


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    hosts.clear()
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


@pytest.fixture
async def peer(hub: Hub, user: Any) -> Peer:
    return await peer_of(user)


async def subscribe(peer: Peer, channel: str, **more: Any) -> None:
    reply = await peer.call(subscribe={"channel": channel, **more})
    assert "subscribe" in reply, reply


async def who(peer: Peer, channel: str) -> dict[str, Any]:
    reply = await peer.call(presence={"channel": channel})
    return dict(reply["presence"].get("presence", {}))


async def stats(peer: Peer, channel: str) -> dict[str, int]:
    reply = await peer.call(presence_stats={"channel": channel})
    return dict(reply["presence_stats"])


def client_of(peer: Peer, hub: Hub) -> str:
    return peer.connection(hub).client


@pytest.mark.parametrize("channel", ["chat:7", "typing:7"])
async def test_a_client_that_has_just_subscribed_sees_itself_and_the_others(
    hub: Hub, user: Any, peer: Peer, channel: str
) -> None:
    other = await peer_of(await in_database(make_user, "other"))
    second = await peer_of(user)
    for number, one in enumerate((peer, other, second), 1):
        await subscribe(one, channel)
        assert client_of(one, hub) in await who(one, channel)
        assert (await stats(one, channel))["num_clients"] == number
    assert await who(other, channel) == {
        client_of(one, hub): {
            "user": str(one.connection(hub).user_id),
            "client": client_of(one, hub),
        }
        for one in (peer, other, second)
    }
    assert await stats(peer, channel) == {"num_clients": 3, "num_users": 2}
    await second.call(unsubscribe={"channel": channel})
    assert client_of(second, hub) not in await who(peer, channel)
    await other.end()
    assert await stats(peer, channel) == {"num_clients": 1, "num_users": 1}


async def test_an_empty_channel_is_answered(peer: Peer) -> None:
    assert await who(peer, "open:7") == {}
    assert await stats(peer, "open:7") == {"num_clients": 0, "num_users": 0}


@pytest.mark.parametrize("command", ["presence", "presence_stats"])
async def test_p6_only_those_whom_the_namespace_allows_are_answered(
    peer: Peer, command: str
) -> None:
    async def error(channel: str) -> int:
        return await peer.error(**{command: {"channel": channel}})

    assert await error("chat:7") == 103
    await subscribe(peer, "chat:8")
    assert await error("chat:7") == 103, "another channel"
    await subscribe(peer, "chat:7")
    assert command in await peer.call(**{command: {"channel": "chat:7"}})
    await peer.call(unsubscribe={"channel": "chat:7"})
    assert await error("chat:7") == 103
    assert await error("party:7") == 103
    await subscribe(peer, "party:7")
    assert await error("party:7") == 103
    hosts.add("reader")
    assert command in await peer.call(**{command: {"channel": "party:7"}})
    hosts.clear()
    assert await error("party:7") == 103
    await subscribe(peer, "secret:7")
    assert await error("secret:7") == 103, "for server code only"


@pytest.mark.parametrize("command", ["presence", "presence_stats"])
async def test_presence_is_not_available_elsewhere_and_unknown_channels_are_unknown(
    user: Any, peer: Peer, command: str
) -> None:
    await subscribe(peer, "plain:7")
    mine = ["plain:7", "broadcast", "staff", f"user:{user.pk}", "user:0", "group:1", "topic:news"]
    for channel in mine:
        assert await peer.error(**{command: {"channel": channel}}) == 108, channel
    for channel in ("", "chat", "chat:", "unknown:7", "topic:", "group:x", "chat:\x00", "x" * 255):
        assert await peer.error(**{command: {"channel": channel}}) == 102, channel
    malformed: list[Any] = [{"channel": 7}, {"channel": "x" * 256}, {"channel": None}, []]
    for request in malformed:
        assert await peer.error(**{command: request}) == 107, request


async def test_a_name_is_told_where_the_namespace_says_so(hub: Hub, user: Any, peer: Peer) -> None:
    hosts.add("reader")
    await subscribe(peer, "party:7", token=await token_of(user, "party:7", {"seat": 3}))
    assert await who(peer, "party:7") == {
        client_of(peer, hub): {
            "user": str(user.pk),
            "client": client_of(peer, hub),
            "conn_info": {"id": str(user.pk), "name": "reader"},
            "chan_info": {"seat": 3},
        }
    }
    await peer.call(publish={"channel": "party:7", "data": "hello"})
    await until(lambda: peer.pushes)
    assert peer.pushes[0]["pub"]["info"] == (await who(peer, "party:7"))[client_of(peer, hub)]


async def test_a_client_beyond_the_page_still_sees_itself(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.streams.members.PAGE_SIZE", 2)
    others = [await peer_of(await in_database(make_user, f"other{number}")) for number in range(3)]
    for one in (peer, *others):
        await subscribe(one, "open:7")
    assert len(await who(peer, "open:7")) == 2
    last = others[-1]
    assert set(await who(last, "open:7")) > {client_of(last, hub)}
    assert await stats(peer, "open:7") == {"num_clients": 4, "num_users": 4}


async def test_a_row_that_cannot_be_written_keeps_no_client_from_the_answer(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError("locked")

    monkeypatch.setattr(hub.members, "_write", fail)
    await subscribe(peer, "open:7")
    assert list(await who(peer, "open:7")) == [client_of(peer, hub)]
    assert not await in_database(Member.objects.exists)


async def test_a_question_waits_only_briefly_for_the_rows_of_others(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.members.SETTLE_TIMEOUT", 0.05)
    await subscribe(peer, "open:7")
    async with hub.members._flushing:  # a flush that hangs
        assert list(await who(peer, "open:7")) == [client_of(peer, hub)]
    await until(lambda: not hub.members._tasks)
    assert await in_database(Member.objects.count) == 1


async def test_a_function_of_the_host_that_hangs_is_a_temporary_error(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.streams.channel_rights.ANSWER_TIMEOUT", 0.0)
    reply = await peer.call(presence={"channel": "party:7"})
    assert (reply["error"]["code"], reply["error"]["temporary"]) == (INTERNAL.code, True)


async def test_what_a_token_tells_others_is_limited(user: Any, peer: Peer) -> None:
    """Else a page of presence could take any amount of memory."""
    for size, error in ((MAX_INFO - 2, 0), (MAX_INFO - 1, 103)):
        claims = {"sub": str(user.pk), "channel": f"open:{size}", "info": "x" * size}
        token = jwt.encode(claims, app_settings.TOKEN_SECRET, ALGORITHM)
        reply = await peer.call(subscribe={"channel": f"open:{size}", "token": token})
        assert reply.get("error", {}).get("code", 0) == error
    with pytest.raises(ValueError, match="1024"):
        await token_of(user, "open:7", "x" * MAX_INFO)
