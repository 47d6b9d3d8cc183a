"""``disconnect``, ``refresh``, ``subscribe``, ``unsubscribe``: what a backend does to one user."""

import uuid
from typing import Any

import pytest

from notifications import inbox
from notifications.models import Connection, Subscription, Worker
from tests.api.backends import Caller
from tests.rooms import hints, make_user, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)

CLOSE = "notifications.close"


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def user() -> Any:
    return make_user()


def connect(user: Any) -> str:
    worker = Worker.objects.create(host="a", pid=1)
    return str(Connection.objects.create(id=uuid.uuid4(), user=user, worker=worker).pk)


def closing() -> set[str]:
    return {str(pk) for pk in Connection.objects.filter(closing=True).values_list("pk", flat=True)}


def expiries() -> dict[str, int | None]:
    rows = Connection.objects.values_list("pk", "expires_at")
    return {str(pk): None if at is None else int(at.timestamp()) for pk, at in rows}


def test_all_connections_of_the_user_are_closed_and_no_others(caller: Caller, user: Any) -> None:
    mine = {connect(user), connect(user)}
    connect(make_user("other"))
    with hints() as sent:
        assert caller.result("disconnect", user=str(user.pk)) == {}
    assert closing() == mine
    assert {stream for stream, _ in sent} == {f"user:{user.pk}"}
    assert [message["type"] for _, message in sent] == ["notifications.changed", CLOSE]


def test_a_client_and_a_whitelist_choose_connections(caller: Caller, user: Any) -> None:
    first, second, third = connect(user), connect(user), connect(user)
    caller.result("disconnect", user=str(user.pk), client=first)
    assert closing() == {first}
    caller.result("disconnect", user=str(user.pk), whitelist=[third, "nonsense"])
    assert closing() == {first, second}


def test_nobody_to_disconnect_is_no_error(caller: Caller, user: Any) -> None:
    other = connect(make_user("other"))
    nobody = {"user": str(uuid.uuid4())}
    with hints() as sent:
        for request in (
            nobody,
            {"user": "nonsense"},
            {"user": "99999999999999999999999"},
            {"user": "a\x00"},
            {"user": str(user.pk), "client": "nonsense"},
        ):
            assert caller.result("disconnect", **request) == {}
    assert sent == []
    with hints() as sent:
        for request in ({"user": str(user.pk)}, {"user": str(user.pk), "client": other}):
            assert caller.result("disconnect", **request) == {}
    assert [(stream, message["type"]) for stream, message in sent] == [
        (f"user:{user.pk}", CLOSE)
    ] * 2
    assert closing() == set()


def test_p2_a_disconnect_that_is_rolled_back_closes_nothing(caller: Caller, user: Any) -> None:
    connect(user)
    with hints() as sent, rolled_back():
        caller.result("disconnect", user=str(user.pk))
    assert (closing(), sent) == (set(), [])


def test_a_close_has_the_code_and_reason_of_the_backend(caller: Caller, user: Any) -> None:
    connect(user)
    caller.result("disconnect", user=str(user.pk), disconnect={"code": 4001, "reason": "moved"})
    row = Connection.objects.get()
    assert (row.close_code, row.close_reason) == (4001, "moved")
    caller.result("refresh", user=str(user.pk), expired=True)
    row.refresh_from_db()
    assert (row.close_code, row.close_reason) == (3005, "connection expired")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, 107),
        ({"user": ""}, 107),
        ({"user": "1", "session": "x"}, 108),
        ({"user": "1", "disconnect": {"code": 1000}}, 107),
        ({"user": "1", "disconnect": {"code": 5000}}, 107),
        ({"user": "1", "disconnect": {"code": -1}}, 107),
        ({"user": "1", "disconnect": {"code": 4001, "reason": "ä" * 62}}, 107),
        ({"user": "1", "disconnect": {"code": 4001, "reason": "a\x00"}}, 107),
        ({"user": "1", "whitelist": ["x"] * 1001}, 106),
    ],
)
def test_what_cannot_be_done_is_refused(caller: Caller, request_: Any, code: int) -> None:
    assert caller.error("disconnect", **request_) == code


def test_connections_expire_now_or_when_the_backend_says(caller: Caller, user: Any) -> None:
    first, second = connect(user), connect(user)
    assert caller.error("refresh", user=str(user.pk)) == 108
    assert caller.error("refresh", user=str(user.pk), expired=True, info={"x": 1}) == 108
    assert caller.error("refresh", user=str(user.pk), expire_at=-1) == 107
    assert expiries() == {first: None, second: None}
    with hints() as sent:
        assert caller.result("refresh", user=str(user.pk), client=first, expire_at=2**32) == {}
    assert expiries() == {first: 2**32, second: None}
    kinds = [message["type"] for _, message in sent]
    assert kinds == ["notifications.changed", "notifications.expire"]
    assert closing() == set()
    caller.result("refresh", user=str(user.pk), client=second, expire_at=1)
    assert closing() == {second}


def test_the_largest_time_of_an_expiry_can_be_stored(caller: Caller, user: Any) -> None:
    client = connect(user)
    for late in (10**11 + 1, 2**63, 2**70):
        caller.result("refresh", user=str(user.pk), expire_at=late)
        assert expiries() == {client: 10**11}


def test_p2_an_expiry_that_is_rolled_back_limits_nothing(caller: Caller, user: Any) -> None:
    client = connect(user)
    with hints() as sent, rolled_back():
        caller.result("refresh", user=str(user.pk), expire_at=2**32)
    assert (expiries(), sent) == ({client: None}, [])


def test_a_key_closes_only_connections_of_users_in_its_scope(user: Any) -> None:
    connect(user)
    for channels in (("topic:*",), ("user:0",)):
        caller = Caller(channels=channels)
        assert caller.error("disconnect", user=str(user.pk)) == 103
        assert caller.error("refresh", user=str(user.pk), expired=True) == 103
    assert closing() == set()
    Caller(channels=(f"user:{user.pk}",)).result("disconnect", user=str(user.pk))
    assert len(closing()) == 1


# Topics


def topics(user: Any) -> list[str]:
    return [topic.channel for topic in inbox.topics(user) if topic.is_followed]


def test_a_user_follows_a_topic_until_the_backend_ends_it(caller: Caller, user: Any) -> None:
    request = {"user": str(user.pk), "channel": "topic:news"}
    with hints() as sent:
        for _ in range(2):
            assert caller.result("subscribe", **request) == {}
    assert topics(user) == ["topic:news"]
    assert sum(b'"join"' in message.get("data", b"") for _, message in sent) == 1
    for _ in range(2):
        assert caller.result("unsubscribe", **request) == {}
    assert topics(user) == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"channel": ""}, 107),
        ({"channel": "broadcast"}, 103),
        ({"channel": "staff"}, 103),
        ({"channel": "group:1"}, 103),
        ({"channel": "user:1"}, 103),
        ({"channel": "nonsense"}, 102),
        ({"channel": "other"}, 103),
        ({"channel": "topic:news", "user": "0"}, 107),
        ({"channel": "topic:news", "user": ""}, 107),
        ({"channel": "topic:news", "user": "a\x00"}, 107),
        ({"channel": "topic:news", "client": "x"}, 108),
        ({"channel": "topic:news", "session": "x"}, 108),
    ],
)
@pytest.mark.parametrize("method", ["subscribe", "unsubscribe"])
def test_users_follow_topics_only(
    caller: Caller, user: Any, method: str, request_: Any, code: int
) -> None:
    Subscription.objects.all().delete()
    assert caller.error(method, **{"user": str(user.pk), **request_}) == code
    assert topics(user) == []


@pytest.mark.parametrize(
    "option",
    [
        {"data": {}},
        {"info": {}},
        {"b64data": "eA=="},
        {"b64info": "eA=="},
        {"expire_at": 2**31},
        {"recover_since": {"offset": 1}},
        {"override": {"presence": {"value": True}}},
    ],
)
def test_options_of_subscriptions_are_not_ignored(caller: Caller, user: Any, option: Any) -> None:
    request = {"user": str(user.pk), "channel": "topic:news", **option}
    assert caller.error("subscribe", **request) == 108
    assert topics(user) == []


def test_a_backend_gives_nobody_rights(caller: Caller, user: Any, settings: Any) -> None:
    request = {"user": str(user.pk), "channel": "topic:secret"}
    assert caller.reason("subscribe", **request) == "permission denied: the user may not read it"
    settings.NOTIFICATIONS = {"TOPICS": ["a", "b"], "MAX_TOPICS": 1}
    caller.result("subscribe", user=str(user.pk), channel="topic:a")
    assert caller.error("subscribe", user=str(user.pk), channel="topic:b") == 106
    user.is_active = False
    user.save()
    assert caller.error("subscribe", user=str(user.pk), channel="topic:a") == 107
