"""``publish`` and ``broadcast``: what a backend may send, to whom, and how often."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.utils import timezone

from notifications import notify
from notifications.api.server import sending
from notifications.api.server.streams import Content
from notifications.models import Notification, Stream
from notifications.options import Options
from tests.api.backends import Caller
from tests.rooms import in_threads, make_old_users, make_user, queries

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def own() -> str:
    return f"user:{make_user().pk}"


def test_all_that_a_notification_holds_can_be_sent(caller: Caller, own: str) -> None:
    data = {
        "title": "Shipped",
        "body": "Today",
        "url": "/orders/7/",
        "kind": "order.shipped",
        "level": "success",
        "data": {"order": 7},
        "key": "order-7",
        "publish_at": timezone.now().isoformat(),
        "expires_at": (timezone.now() + timedelta(days=1)).isoformat(),
    }
    assert caller.result("publish", channel=own, data=data)["offset"] == 1
    row = Notification.objects.get()
    sent = {name: getattr(row, name) for name in data if not name.endswith("_at")}
    assert sent == {name: value for name, value in data.items() if not name.endswith("_at")}
    assert row.expires_at is not None


def test_only_the_actor_of_a_notification_cannot_be_sent() -> None:
    assert set(Content.__struct_fields__) == {"title", *Options.__annotations__} - {"actor"}


def test_every_built_in_stream_takes_a_notification(caller: Caller, own: str) -> None:
    group = f"group:{Group.objects.create(name='Editors').pk}"
    for channel in (own, "broadcast", "staff", group, "topic:news", "topic:of-server-code-only"):
        result = caller.result("publish", channel=channel, data={"title": "x"})
        stream = Stream.objects.get(name=channel)
        assert result == {"offset": 1, "epoch": stream.epoch}


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("", 107),
        ("nonsense", 102),
        ("user:0", 102),
        ("user:07", 102),
        ("user:x", 102),
        ("user:99999999999999999999", 102),
        ("user:", 102),
        ("user:a\x00", 102),
        ("group:0", 102),
        ("group:9", 102),
        ("group:999999999999999999", 102),
        ("topic:a b", 102),
        ("other", 103),
        ("chat:7", 102),
    ],
)
def test_a_channel_without_an_audience_is_unknown(caller: Caller, channel: str, code: int) -> None:
    assert caller.error("publish", channel=channel, data={"title": "x"}) == code
    assert not Notification.objects.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "title"),
        ({"title": ""}, "title: A title needs at least one visible character."),
        ({"title": 7}, "$.title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "x", "url": "javascript:alert(1)"}, "url"),
        ({"title": "x", "level": "loud"}, "level"),
        ({"title": "x", "data": {"x": "y" * 20_000}}, "data"),
        ({"title": "x", "data": []}, "$.data"),
        ({"title": "x", "key": "k" * 201}, "key"),
        ({"title": "x", "publish_at": "2030-01-01T00:00:00"}, "publish_at"),
        ({"title": "x", "publish_at": "tomorrow"}, "$.publish_at"),
        ({"title": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"title": "x", "actor": 1}, "actor"),
        ("Shipped", "object"),
        (None, "title"),
        ([], "object"),
    ],
)
def test_invalid_data_are_refused_with_the_reason(
    caller: Caller, own: str, data: Any, reason: str
) -> None:
    for language in ("en", "de"):
        body = json.dumps({"channel": own, "data": data})
        response = caller.post("/publish", body, **{"Accept-Language": language})
        error = json.loads(response.content)["error"]
        assert error["code"] == 107
        assert error["message"].startswith("bad request: ")
        assert reason in error["message"]
    assert not Notification.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("skip_history", True), ("tags", {"a": "b"}), ("version", 7), ("version_epoch", "x")],
)
def test_options_that_notifications_lack_are_not_ignored(
    caller: Caller, own: str, name: str, value: Any
) -> None:
    answer = caller.answer("publish", channel=own, data={"title": "x"}, **{name: value})
    assert answer == {"error": {"code": 108, "message": f"not available: {name}"}}
    assert not Notification.objects.exists()


def test_data_may_come_in_base64(caller: Caller, own: str) -> None:
    encoded = base64.b64encode(b'{"title": "Shipped"}').decode()
    assert caller.result("publish", channel=own, b64data=encoded)["offset"] == 1
    assert caller.error("publish", channel=own, b64data="%") == 107
    assert caller.error("publish", channel=own, b64data="ä") == 107
    assert caller.error("publish", channel=own, b64data="AAAA") == 107


@pytest.mark.parametrize("channel", ["broadcast", "chat:7"])
@pytest.mark.parametrize("fields", [{}, {"b64data": ""}])
def test_a_publication_without_data_is_refused_with_the_reason(
    caller: Caller, settings: Any, channel: str, fields: dict[str, Any]
) -> None:
    settings.NOTIFICATIONS = {
        **settings.NOTIFICATIONS,
        "NAMESPACES": {"chat": {"durable": True}},
    }
    answer = caller.answer("publish", channel=channel, **fields)
    assert answer == {"error": {"code": 107, "message": "bad request: data is missing"}}


# Retries


def test_the_same_key_is_one_notification(caller: Caller, own: str) -> None:
    request = {"channel": own, "data": {"title": "Paid"}, "idempotency_key": "order-7"}
    first = caller.result("publish", **request)
    caller.result("publish", channel=own, data={"title": "another"})
    assert caller.result("publish", **request) == first
    assert first["offset"] == 1
    assert Notification.objects.count() == 2


def test_the_key_is_that_of_the_notification(caller: Caller) -> None:
    user = make_user()
    notify(user, "Paid", key="order-7")
    request = {"channel": f"user:{user.pk}", "data": {"title": "Paid"}}
    assert caller.result("publish", **request, idempotency_key="order-7")["offset"] == 1
    request["data"] = {"title": "Paid", "key": "order-7"}
    assert caller.result("publish", **request)["offset"] == 1
    assert caller.result("publish", **request, idempotency_key="order-7")["offset"] == 1
    assert caller.error("publish", **request, idempotency_key="other") == 107
    assert Notification.objects.count() == 1


def test_concurrent_retries_are_one_notification(own: str) -> None:
    caller = Caller()
    request = {"channel": own, "data": {"title": "Paid"}, "idempotency_key": "order-7"}
    results = in_threads(4, lambda number: caller.result("publish", **request))
    assert {result["offset"] for result in results} == {1}
    assert Notification.objects.published().count() == 1


def test_a_notification_for_later_has_no_position_yet(caller: Caller, own: str) -> None:
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    data = {"title": "Later", "publish_at": later}
    assert caller.result("publish", channel=own, data=data) == {}
    assert Notification.objects.get().offset is None


def test_what_is_saved_is_no_error_when_its_position_cannot_be_read(
    caller: Caller, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(sending, "originals", fail)
    monkeypatch.setattr(sending, "_positions", fail)
    for key in ("", "order-7"):
        sent = {"channel": own, "data": {"title": "Paid"}, "idempotency_key": key}
        assert caller.result("publish", **sent) == {}
    result = caller.result("broadcast", channels=[own, "user:0"], data={"title": "Paid"})
    assert result["responses"] == [
        {"result": {}},
        {"error": {"code": 102, "message": "unknown channel"}},
    ]
    assert Notification.objects.published().count() == 3


# Broadcasts


def test_each_channel_of_a_broadcast_has_an_answer(caller: Caller, own: str) -> None:
    channels = [own, "user:0", "", "other", "broadcast", own]
    result = caller.result("broadcast", channels=channels, data={"title": "x"})
    codes = [answer.get("error", {}).get("code") for answer in result["responses"]]
    assert codes == [None, 102, 107, 103, None, None]
    assert result["responses"][0] == result["responses"][5]
    assert Notification.objects.count() == 2


def test_a_broadcast_with_a_key_can_be_retried(caller: Caller, own: str) -> None:
    request = {"channels": [own, "broadcast"], "data": {"title": "x"}, "idempotency_key": "k"}
    assert caller.result("broadcast", **request) == caller.result("broadcast", **request)
    assert Notification.objects.count() == 2


def test_invalid_data_are_an_error_of_each_channel(caller: Caller, own: str) -> None:
    result = caller.result("broadcast", channels=[own, "user:0"], data={"title": ""})
    assert [answer["error"]["code"] for answer in result["responses"]] == [107, 102]
    assert not Notification.objects.exists()


def test_a_broadcast_has_a_number_of_channels(caller: Caller) -> None:
    assert caller.error("broadcast", channels=[], data={"title": "x"}) == 107
    assert caller.error("broadcast", channels=["broadcast"] * 1001, data={"title": "x"}) == 106
    assert not Notification.objects.exists()


def test_a_broadcast_to_many_takes_few_queries(caller: Caller) -> None:
    def send(count: int) -> int:
        channels = [f"user:{user.pk}" for user in users[:count]]
        request = {"channels": channels, "data": {"title": "x"}}
        caller.result("broadcast", **request)
        return len(queries(lambda: caller.result("broadcast", **request)))

    users = make_old_users(200)
    assert send(200) <= send(2)
