"""Reading who is in a channel: pages, counts, and the work that both take."""

import re
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync

import notifications
from notifications import presence, presence_stats
from notifications.models import Member, Worker
from notifications.namespaces import UnknownChannel, find_namespace
from notifications.streams import members
from tests.rooms import make_old_users, make_user, plans, queries

pytestmark = pytest.mark.django_db

NAMESPACES = {
    "chat": {"presence": "subscribers"},
    "named": {"presence": "authenticated", "show_names": True},
    "told": {"presence": "authenticated", "join_leave": True, "show_names": True},
    "secret": {"join_leave": True},
    "plain": {},
}

CHAT = "chat:7"


@pytest.fixture(autouse=True)
def _namespaces(settings: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": NAMESPACES}


def enter(users: list[Any], *channels: str, worker: Worker | None = None, info: str = "") -> None:
    """Let a client of each user be a member of these channels."""
    worker = worker or Worker.objects.create(host="here", pid=1)
    Member.objects.bulk_create(
        Member(client=uuid.uuid4(), channel=name, user=user, worker=worker, info=info)
        for name in channels
        for user in users
    )


def test_the_functions_are_importable_from_the_package() -> None:
    names = ("presence", "presence_stats", "apresence", "apresence_stats")
    assert set(names) <= set(notifications.__all__)
    assert [getattr(notifications, name) for name in names] == [
        getattr(members, name) for name in names
    ]


def test_an_empty_channel_has_no_clients() -> None:
    assert presence(CHAT) == {}
    assert presence_stats(CHAT) == {"num_clients": 0, "num_users": 0}


@pytest.mark.django_db(transaction=True)
def test_asynchronous_code_gets_the_same() -> None:
    enter([make_user()], CHAT)
    assert async_to_sync(notifications.apresence)(CHAT) == presence(CHAT) != {}
    assert async_to_sync(notifications.apresence_stats)(CHAT) == presence_stats(CHAT)


@pytest.mark.parametrize("function", [presence, presence_stats])
def test_channels_without_presence_are_refused(function: Any) -> None:
    for name in ("", "chat", "chat:", "nothing:7", "broadcast", "user:7", "chat:\x00"):
        with pytest.raises(UnknownChannel):
            function(name)
    with pytest.raises(ValueError, match="the namespace 'plain' keeps no presence"):
        function("plain:7")
    # Server code may ask where no client may.
    assert function("secret:7") is not None


def test_a_list_is_limited_and_the_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "PAGE_SIZE", 5)
    users = make_old_users(8)
    enter([*users, *users], CHAT)
    enter(users, "chat:8")
    assert len(presence(CHAT)) == 5
    assert presence_stats(CHAT) == {"num_clients": 16, "num_users": 8}


def test_a_list_fits_into_a_reply() -> None:
    users = make_old_users(100)
    enter(users, CHAT, info=f'"{"x" * 10_000}"')
    assert 20 < len(presence(CHAT)) < 30, "256 KB"


def test_names_take_no_query_of_their_own() -> None:
    users = make_old_users(5)
    enter(users, "named:7", CHAT)
    named = queries(lambda: members.list_clients(find_namespace("named:7"), "named:7"))
    plain = queries(lambda: members.list_clients(find_namespace(CHAT), CHAT))
    assert len(named) == len(plain) == 1
    assert "username" not in plain[0]


def test_the_members_to_announce_are_those_of_one_worker_where_leaves_are_told() -> None:
    mine, other = (Worker.objects.create(host="here", pid=pid) for pid in (1, 2))
    user = make_user()
    enter([user], "told:7", "told:8", CHAT, "secret:7", "plain:7", "toldx:7", worker=mine)
    enter([user], "told:9", worker=other)
    found = members.members_to_announce(mine.pk)
    assert [channel for channel, _ in found] == ["told:7", "told:8"]
    assert all(info.user == str(user.pk) and info.conn_info for _, info in found)


def test_the_members_to_announce_include_those_of_channels_without_a_colon(settings: Any) -> None:
    settings.NOTIFICATIONS = {
        "NAMESPACES": {**NAMESPACES, "": {"presence": "authenticated", "join_leave": True}}
    }
    worker = Worker.objects.create(host="here", pid=1)
    enter([make_user()], "lobby", CHAT, "told:7", worker=worker)
    found = members.members_to_announce(worker.pk)
    assert [channel for channel, _ in found] == ["lobby", "told:7"]


def test_without_such_namespaces_no_query_is_made(settings: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": {"chat": {"presence": "subscribers"}}}
    assert queries(lambda: members.members_to_announce(uuid.uuid4())) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [CHAT, "named:0"])
def test_lists_and_counts_use_the_index_of_the_channel(name: str) -> None:
    users = make_old_users(20)
    enter(users, *(f"chat:{number}" for number in range(50)), "named:0")
    namespace = find_namespace(name)
    for read in (
        lambda: members.list_clients(namespace, name),
        lambda: members.count_clients(name),
    ):
        plan = plans(read, about="notifications_member")
        assert "member_channel" in plan
        assert "Seq Scan on notifications_member" not in plan
        assert "SCAN notifications_member" not in plan


@pytest.mark.django_db(transaction=True)
def test_a_list_reads_no_more_of_a_large_channel_than_a_page() -> None:
    enter(make_old_users(20) * 300, CHAT)
    plan = plans(lambda: members.list_clients(find_namespace(CHAT), CHAT), "notifications_member")
    assert "Sort" not in plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


@pytest.mark.django_db(transaction=True)
def test_the_members_of_a_dead_worker_are_found_by_the_index_of_the_worker() -> None:
    dead, users = Worker.objects.create(host="there", pid=1), make_old_users(5)
    enter(users, *(f"told:{number}" for number in range(50)))
    enter(users, "told:7", worker=dead)
    plan = plans(lambda: members.members_to_announce(dead.pk), "notifications_member")
    assert re.search(r"notifications_member_worker_id_\w+", plan), plan
    assert "Seq Scan" not in plan
    assert "SCAN" not in plan
