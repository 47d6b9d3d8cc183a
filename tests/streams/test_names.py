"""Names of streams, who may read and write them, and creating them."""

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from hypothesis import given
from hypothesis import strategies as st

from notifications.models import Stream
from notifications.streams import access, revisions
from notifications.streams import names as stream_names
from notifications.streams import rows as stream_rows
from tests.rooms import in_threads, make_user, queries, write

#: Stand-ins for users of models with other primary keys than Django's.
UUID_USER = SimpleNamespace(pk=uuid.UUID(int=7), is_active=True)
TEXT_USER = SimpleNamespace(pk="Zoë van der Berg@example.org", is_active=True)


def only_garden(user: Any, slug: str) -> bool:
    """A ``TOPIC_PERMISSION``."""
    return slug == "garden"


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("broadcast", "broadcast", ""),
        ("staff", "staff", ""),
        ("user:7", "user", "7"),
        ("user:a:b", "user", "a:b"),
        ("group:7", "group", "7"),
        ("topic:Release-1.0", "topic", "Release-1.0"),
    ],
)
def test_names_are_split_into_kind_and_key(name: str, kind: str, key: str) -> None:
    assert stream_names.parse(name) == (kind, key)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "user",
        "user:",
        "group:",
        "group:0",
        "group:07",
        "group:x",
        "group:١",
        "group:" + "9" * 19,
        "topic:",
        "topic:.hidden",
        "topic:a b",
        "topic:a\n",
        "topic:" + "a" * 101,
        "broadcast:1",
        "everyone",
        "user:a\x00b",
        "user:\ud800",
        "user:" + "a" * 255,
    ],
)
def test_invalid_names_are_unknown(name: str) -> None:
    with pytest.raises(stream_names.UnknownStream):
        stream_names.parse(name)


@given(st.text(max_size=300))
def test_any_text_is_a_valid_name_or_unknown(name: str) -> None:
    try:
        kind, key = stream_names.parse(name)
    except stream_names.UnknownStream:
        return
    assert name == (f"{kind}:{key}" if key else kind)


@pytest.mark.parametrize("user", [UUID_USER, TEXT_USER])
def test_users_with_uuid_and_text_keys_have_streams(user: Any) -> None:
    name = stream_names.user_stream(user.pk)
    assert stream_names.parse(name) == ("user", str(user.pk))
    assert access.may_read(user, name)
    assert access.may_read(user, "broadcast")
    assert not access.may_read(user, "user:7")
    assert not access.may_read(user, "staff")
    assert not access.may_read(user, "group:1")


@pytest.mark.django_db
def test_users_read_only_their_own_streams() -> None:
    group, other = Group.objects.create(name="a"), Group.objects.create(name="b")
    user = make_user()
    user.groups.add(group)
    readable = [f"user:{user.pk}", "broadcast", f"group:{group.pk}", "topic:any"]
    assert [name for name in readable if not access.may_read(user, name)] == []
    foreign = [f"user:{user.pk + 1}", "staff", f"group:{other.pk}"]
    assert [name for name in foreign if access.may_read(user, name)] == []
    user.is_active = False
    assert [name for name in readable if access.may_read(user, name)] == []


@pytest.mark.django_db
def test_topic_permission_decides_who_reads_topics(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": "tests.streams.test_names.only_garden"}
    user = make_user()
    assert access.may_read(user, "topic:garden")
    assert not access.may_read(user, "topic:kitchen")


@pytest.mark.django_db
def test_clients_write_only_with_permission() -> None:
    nobody, writer, crier = make_user("a"), make_user("b"), make_user("c")
    permissions = {p.codename: p for p in Permission.objects.filter(codename__startswith="send_")}
    writer.user_permissions.add(permissions["send_private"])
    crier.user_permissions.add(permissions["send_broadcast"])
    private, shared = f"user:{nobody.pk}", "broadcast"
    assert not access.may_publish(nobody, private)
    assert not access.may_publish(nobody, shared)
    assert access.may_publish(writer, private)
    assert not access.may_publish(writer, shared)
    assert not access.may_publish(crier, private)
    assert access.may_publish(crier, shared)
    crier.is_active = False
    assert not access.may_publish(crier, shared)


@pytest.mark.django_db
def test_an_audience_has_one_canonical_name() -> None:
    user, group = make_user(), Group.objects.create(name="a")
    assert access.has_audience(f"user:{user.pk}")
    assert access.has_audience(f"group:{group.pk}")
    assert access.has_audience("topic:new")
    missing = [
        f"user:{user.pk + 1}",
        f"user:0{user.pk}",
        f"user: {user.pk}",
        f"user:+{user.pk}",
        "user:abc",
        "user:" + "9" * 60,
        f"group:{group.pk + 1}",
    ]
    assert [name for name in missing if access.has_audience(name)] == []


@pytest.mark.django_db
def test_groups_of_many_users_take_one_query() -> None:
    users = [make_user(f"u{n}", is_staff=n == 0) for n in range(5)]
    group = Group.objects.create(name="a")
    group.user_set.set(users[:2])
    users[4].is_active = False
    found: list[dict[Any, list[str]]] = []
    assert len(queries(lambda: found.append(access.names_by_user(users)))) == 1
    names = found[0]
    assert names[users[0].pk][1:] == ["broadcast", "staff", f"group:{group.pk}"]
    assert names[users[1].pk][1:] == ["broadcast", f"group:{group.pk}"]
    assert names[users[2].pk] == [f"user:{users[2].pk}", "broadcast"]
    assert users[4].pk not in names


@pytest.mark.django_db(transaction=True)
def test_concurrent_calls_create_each_stream_once() -> None:
    names = [f"topic:{n}" for n in range(20)]
    made = in_threads(4, lambda n: stream_rows.ensure(names if n % 2 else names[::-1]))
    assert len({tuple(sorted(s.pk for s in found.values())) for found in made}) == 1
    assert Stream.objects.filter(name__startswith="topic:").count() == 20


@pytest.mark.django_db
def test_many_streams_are_created_and_touched_in_chunks() -> None:
    names = [f"user:{n}" for n in range(1100)]
    assert len(queries(lambda: stream_rows.ensure(names))) < 50
    assert len(queries(lambda: revisions.touch(names))) <= 6
    touched = Stream.objects.filter(name__startswith="user:")
    assert set(touched.values_list("revision", flat=True)) == {1}


@pytest.mark.django_db
def test_touching_one_stream_takes_one_statement() -> None:
    stream_rows.ensure(["user:1", "user:2"])
    assert len(queries(lambda: revisions.touch(["user:1"]))) == 1
    assert Stream.objects.get(name="user:1").revision == 1
    assert Stream.objects.get(name="user:2").revision == 0


@pytest.mark.django_db
def test_removing_a_stream_removes_its_notifications() -> None:
    write("topic:a")
    kept = write("topic:b")
    stream_rows.remove("topic:a")
    left = Stream.objects.filter(name__startswith="topic:")
    assert list(left.values_list("name", flat=True)) == ["topic:b"]
    kept.refresh_from_db()
    stream_rows.remove("topic:a")


@pytest.mark.django_db
def test_streams_of_any_name_are_created_and_found() -> None:
    """Primary keys of users may be any text."""
    names = [
        f"user:{key}"
        for key in ('a"b', "a\\b", "{a,b}", "NULL", "null", "", "a b", "ü", "'%s'", "[1]")
    ]
    stream_rows.create(names)
    stream_rows.create(names)
    found = stream_rows.ids([*names, "user:missing"])
    made = Stream.objects.filter(name__startswith="user:")
    assert found == dict(made.values_list("name", "pk"))
    assert sorted(found) == sorted(names)
    assert len(set(made.values_list("epoch", flat=True))) == len(names)
    assert stream_rows.ids([]) == {}
