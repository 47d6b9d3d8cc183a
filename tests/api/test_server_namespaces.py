"""Channels of namespaces: publishing any JSON, history, and who is in a channel."""

import base64
import uuid
from typing import Any

import pytest
from django.db import OperationalError

from notifications.models import Member, Notification, Worker
from notifications.publishing import channels as publishing
from tests.api.backends import Caller
from tests.rooms import hints, in_threads, make_user

pytestmark = pytest.mark.django_db(transaction=True)

NAMESPACES: dict[str, dict[str, Any]] = {
    "chat": {"durable": True, "presence": "authenticated", "show_names": True},
    "typing": {"schema": "tests.api.test_server_namespaces.check"},
}


def check(data: Any) -> None:
    if data == "bad":
        raise ValueError("not this")
    if data == "worse":
        raise RuntimeError("a secret of the host")


@pytest.fixture
def caller(settings: Any) -> Caller:
    settings.NOTIFICATIONS = {"NAMESPACES": NAMESPACES, "MAX_DATA_SIZE": 1000}
    return Caller(channels=("chat:*", "typing:*", "broadcast"))


@pytest.mark.parametrize("data", [{"any": ["thing"]}, [], "text", 7, None, False])
def test_a_durable_namespace_stores_any_json(caller: Caller, data: Any) -> None:
    result = caller.result("publish", channel="chat:7", data=data, tags={"a": "b"})
    history = caller.result("history", channel="chat:7", limit=9)
    (entry,) = history.pop("publications")
    assert history == result
    assert result["offset"] == 1
    assert (entry["offset"], entry["data"], entry["tags"]) == (1, data, {"a": "b"})


def test_an_ephemeral_namespace_sends_and_stores_nothing(caller: Caller) -> None:
    with hints() as sent:
        result = caller.result("publish", channel="typing:7", data={"x": 1}, skip_history=True)
    assert result == {}
    ((channel, message),) = sent
    assert channel == "typing:7"
    assert message["type"] == "notifications.ephemeral"
    assert b'{"x":1}' in message["data"]
    assert not Notification.objects.exists()
    assert caller.reason("history", channel="typing:7") == "not available: nothing is stored"


def test_a_retry_with_the_same_key_is_one_publication(caller: Caller) -> None:
    request = {"channel": "chat:7", "data": {"x": 1}, "idempotency_key": "k"}
    results = in_threads(3, lambda number: caller.result("publish", **request))
    assert results == [results[0]] * 3
    assert results[0]["offset"] == 1
    assert Notification.objects.published().count() == 1
    other = caller.result("publish", **{**request, "channel": "chat:8"})
    assert other["offset"] == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"channel": "chat:7", "data": {}, "skip_history": True}, 108),
        ({"channel": "chat:7", "data": {}, "version": 7}, 108),
        ({"channel": "chat:7", "data": {}, "idempotency_key": "k" * 201}, 107),
        ({"channel": "chat:7", "data": {}, "idempotency_key": "\x00"}, 107),
        ({"channel": "chat:7", "data": "x" * 1000}, 107),
        ({"channel": "chat:7", "data": {}, "tags": {str(n): "" for n in range(17)}}, 107),
        ({"channel": "chat:7"}, 107),
        ({"channel": "chat:7", "b64data": "%"}, 107),
        ({"channel": "chat:7", "b64data": base64.b64encode(b"not JSON").decode()}, 107),
        ({"channel": "typing:7", "data": {}, "idempotency_key": "k"}, 108),
        ({"channel": "typing:7", "data": "bad"}, 107),
        ({"channel": "typing:7", "data": "worse"}, 100),
        ({"channel": "chat:", "data": {}}, 102),
        ({"channel": "chat:\x00", "data": {}}, 102),
        ({"channel": "other:7", "data": {}}, 103),
    ],
)
def test_what_cannot_be_published_is_refused(caller: Caller, request_: Any, code: int) -> None:
    with hints() as sent:
        assert caller.error("publish", **request_) == code
    assert sent == []
    assert not Notification.objects.exists()


def test_a_broadcast_may_mix_streams_and_channels(caller: Caller) -> None:
    channels = ["chat:1", "typing:1", "broadcast", "chat:2", "chat:1", "other:1"]
    result = caller.result("broadcast", channels=channels, data={"title": "Hello"})
    answers = result["responses"]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None] * 5 + [103]
    assert [answer["result"].get("offset") for answer in answers[:5]] == [1, None, 1, 1, 1]
    result = caller.result("broadcast", channels=channels, data=["no", "notification"])
    codes = [answer.get("error", {}).get("code") for answer in result["responses"]]
    assert codes == [None, None, 107, None, None, 103]


def test_a_database_that_fails_in_the_middle_is_no_error_of_what_is_committed(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(publishing, "store_in_each", fail)
    result = caller.result("broadcast", channels=["chat:1", "broadcast"], data={"title": "Hello"})
    codes = [answer.get("error", {}).get("code") for answer in result["responses"]]
    assert codes == [100, None]
    assert Notification.objects.published().count() == 1


def test_who_is_in_a_channel(caller: Caller) -> None:
    user = make_user(first_name="Ada")
    worker = Worker.objects.create(host="host", pid=7)
    clients = [str(uuid.uuid4()) for _ in range(2)]
    for client in clients:
        Member.objects.create(client=client, channel="chat:7", user=user, worker=worker)
    present = caller.result("presence", channel="chat:7")["presence"]
    assert present == {
        client: {
            "user": str(user.pk),
            "client": client,
            "conn_info": {"id": str(user.pk), "name": "Ada"},
        }
        for client in clients
    }
    assert caller.result("presence_stats", channel="chat:7") == {"num_clients": 2, "num_users": 1}
    assert caller.result("presence", channel="chat:8") == {"presence": {}}
    assert caller.result("presence_stats", channel="chat:8") == {"num_clients": 0, "num_users": 0}
    assert caller.result("channels", pattern="chat:*") == {
        "channels": {"chat:7": {"num_clients": 2}}
    }


@pytest.mark.parametrize(
    ("channel", "code"),
    [("", 107), ("typing:7", 108), ("broadcast", 108), ("chat:", 102), ("other:7", 103)],
)
@pytest.mark.parametrize("method", ["presence", "presence_stats"])
def test_presence_is_not_kept_everywhere(
    caller: Caller, method: str, channel: str, code: int
) -> None:
    assert caller.error(method, channel=channel) == code


def test_users_subscribe_to_channels_themselves(caller: Caller) -> None:
    user = str(make_user().pk)
    for method in ("subscribe", "unsubscribe"):
        assert caller.error(method, user=user, channel="chat:7") == 108
