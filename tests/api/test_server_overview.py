"""``channels`` and ``info``: who is connected where."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from notifications import inbox
from notifications.api.server import overview
from notifications.models import Connection, Member, Subscription, Worker
from notifications.streams.feeds import load_inbox
from tests.api.backends import Caller
from tests.rooms import make_old_users, make_user, plans

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    return Caller()


def work(**fields: Any) -> Worker:
    return Worker.objects.create(host="host", pid=7, **fields)


def connect(user: Any, worker: Worker) -> None:
    load_inbox(user)
    Connection.objects.create(id=uuid.uuid4(), user=user, worker=worker)


def channels(caller: Caller, pattern: str = "") -> dict[str, int]:
    found = caller.result("channels", pattern=pattern)["channels"]
    return {name: info["num_clients"] for name, info in found.items()}


def test_channels_are_those_of_connected_users(caller: Caller) -> None:
    user, away = make_user(), make_user("away")
    load_inbox(away)
    worker = work()
    connect(user, worker)
    connect(user, worker)
    inbox.join(user, "topic:news")
    own = f"user:{user.pk}"
    assert channels(caller) == {"broadcast": 2, "topic:news": 2, own: 2}
    Subscription.objects.filter(stream__name="broadcast").update(muted=True)
    assert channels(caller) == {"topic:news": 2, own: 2}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", {"broadcast", "user"}),
        ("user:*", {"user"}),
        ("broad????", {"broadcast"}),
        ("b*c*t", {"broadcast"}),
        ("[bu]*", {"broadcast", "user"}),
        ("nothing", set()),
    ],
)
def test_a_pattern_chooses_channels(caller: Caller, pattern: str, found: set[str]) -> None:
    connect(make_user(), work())
    assert {name.partition(":")[0] for name in channels(caller, pattern)} == found


def test_channels_out_of_scope_are_not_listed() -> None:
    connect(make_user(), work())
    assert set(channels(Caller(channels=("broad*",)))) == {"broadcast"}


def test_dead_workers_do_not_count(caller: Caller) -> None:
    dead = work(seen_at=timezone.now() - timedelta(minutes=5))
    connect(make_user(), dead)
    assert channels(caller) == {}
    assert caller.result("info") == {"nodes": []}


def test_lists_have_a_maximum(caller: Caller, monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "MAX_LISTED", 3)
    worker = work()
    for user in make_old_users(5):
        connect(user, worker)
    for _ in range(4):
        work()
    assert len(channels(caller)) == 3
    assert len(caller.result("info")["nodes"]) == 3


def test_a_pattern_has_a_maximum(caller: Caller) -> None:
    assert caller.error("channels", pattern="*" * 9) == 107
    assert caller.error("channels", pattern="x" * 256) == 107
    assert caller.result("channels", pattern="[") == {"channels": {}}


def test_a_node_tells_its_users_and_its_age(caller: Caller) -> None:
    worker = work(started_at=timezone.now() - timedelta(seconds=100))
    user = make_user()
    for who in (user, user, make_user("other")):
        connect(who, worker)
    (node,) = caller.result("info")["nodes"]
    assert 100 <= node.pop("uptime") < 130
    assert node == {
        "uid": str(worker.pk),
        "name": "host:7",
        "version": "pushsite 1",
        "num_clients": 3,
        "num_users": 2,
    }


def test_channels_with_presence_are_counted_in_the_order_of_their_index() -> None:
    worker, users = work(), make_old_users(20)
    Member.objects.bulk_create(
        Member(client=uuid.uuid4(), channel=f"chat:{number}", user=user, worker=worker)
        for number in range(100)
        for user in users
    )
    # A list ends after MAX_LISTED names, so nothing may read all members first.
    plan = plans(lambda: list(overview.count_in_channels()[:5]), 'FROM "notifications_member"')
    assert "member_channel" in plan, plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
