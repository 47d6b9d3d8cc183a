"""Loading the dump of a site into a fresh database: ``dumpdata``, ``flush``, ``loaddata``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command

from notifications import broadcast, inbox, notify
from notifications.loading import Renumbered
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.streams.names import BROADCAST, user_stream
from tests.rooms import make_old_users, make_user

pytestmark = pytest.mark.django_db(transaction=True)

#: Excludes the rows that ``flush`` creates again, with other primary keys.
DJANGOS = ("--exclude=contenttypes", "--exclude=auth.permission")

#: Common options of ``dumpdata``.
WAYS = [
    DJANGOS,
    (*DJANGOS, "--natural-foreign"),
    (*DJANGOS, "--natural-foreign", "--exclude=sessions", "--exclude=admin.logentry"),
]


def fill_site() -> Any:
    """Create users in groups, delete some of them, and publish notifications.

    Returns:
        A user with read and unread notifications, groups and a topic.
    """
    gone = make_user("gone first")
    people = [make_user(f"person{number}", is_staff=number % 2 == 0) for number in range(4)]
    groups = [Group.objects.create(name=name) for name in ("left", "kept", "empty")]
    for group in groups[:2]:
        group.user_set.set(people)
    for number in range(3):
        notify(people, f"hello {number}", actor=people[0], key=f"k{number}")
    audiences: list[str | Group] = ["everyone", "staff", "topic:news", *groups]
    for to in audiences:
        broadcast(f"to {to}", to=to)
    for one in (gone, people[1]):
        one.delete()
    groups[0].delete()
    notify(make_old_users(2), "nobody has come to get it")
    inbox.join(people[2], "topic:news")
    inbox.mark_read(people[2], [entry.notification.pk for entry in private(people[2])[:1]])
    return people[2]


def private(user: Any) -> list[Any]:
    return [
        entry
        for entry in inbox.list_entries(user).entries
        if entry.notification.stream_name == user_stream(user.pk)
    ]


def dump(path: Path, *options: str) -> str:
    call_command("dumpdata", *options, output=str(path / "site.json"), verbosity=0)
    return str(path / "site.json")


def rows() -> dict[str, list[Any]]:
    """All rows, with times cut to milliseconds as in dumps."""
    models: tuple[Any, ...] = (Stream, Notification, Subscription, Receipt)
    members = Group.user_set.through.objects.order_by("user", "group").values("user", "group")
    found: dict[str, list[Any]] = {"members": list(members)}
    return found | {
        model.__name__: [
            {name: _to_millisecond(value) for name, value in row.items()}
            for row in model.objects.order_by("pk").values()
        ]
        for model in models
    }


def _to_millisecond(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def flush() -> None:
    call_command("flush", interactive=False, verbosity=0)
    assert list(Stream.objects.order_by("name").values_list("name", flat=True)) == [
        "broadcast",
        "staff",
    ]


@pytest.mark.parametrize("options", WAYS, ids=" ".join)
def test_a_dump_of_a_site_is_loaded_unchanged(options: tuple[str, ...], tmp_path: Any) -> None:
    user = fill_site()
    before, unread = rows(), inbox.unread_count(user)
    path = dump(tmp_path, *options)
    flush()
    call_command("loaddata", path, verbosity=0)
    assert rows() == before
    assert inbox.unread_count(user) == unread
    # New rows get new primary keys, and new offsets follow the loaded ones.
    top = Stream.objects.get(name=user_stream(user.pk)).top
    (pk,) = notify(user, "after the load")
    assert Notification.objects.get(pk=pk).offset == top + 1
    assert notify(user, "again", key="k0")[0] in {row["id"] for row in before["Notification"]}
    assert inbox.unread_count(user) == unread + 1
    newcomer = make_user("newcomer")
    newcomer.groups.set(Group.objects.all())
    assert inbox.unread_count(newcomer) == 0
    notify(newcomer, "welcome")
    assert inbox.unread_count(newcomer) == 1


def test_dumps_of_single_apps_are_loaded_unchanged(tmp_path: Any) -> None:
    fill_site()
    before = rows()
    paths = []
    for app in ("auth", "notifications"):
        (tmp_path / app).mkdir()
        options = ("--exclude=auth.permission",) if app == "auth" else ()
        paths.append(dump(tmp_path / app, app, *options))
    flush()
    for path in paths:
        call_command("loaddata", path, verbosity=0)
    assert rows() == before


def test_streams_created_by_migrate_may_have_other_keys_in_the_dump(tmp_path: Any) -> None:
    user = fill_site()
    path = dump(tmp_path, *DJANGOS)
    before = rows()
    flush()
    Stream.objects.all().delete()
    Stream.objects.bulk_create(
        Stream(pk=pk, name=name) for pk, name in ((70, "staff"), (71, BROADCAST))
    )
    call_command("loaddata", path, verbosity=0)
    assert rows() == before
    assert inbox.unread_count(user)


def test_users_loaded_without_notifications_get_new_ones(tmp_path: Any) -> None:
    user = fill_site()
    path = dump(tmp_path, "auth", DJANGOS[1], "--natural-foreign", "--natural-primary")
    name = user.username
    flush()
    call_command("loaddata", path, verbosity=0)
    assert set(Stream.objects.values_list("name", flat=True)) == {"broadcast", "staff"}
    assert not Subscription.objects.exists()
    user = get_user_model().objects.get(username=name)
    (pk,) = notify(user, "hello")
    row = Notification.objects.get(pk=pk)
    assert (row.stream_name, row.offset) == (user_stream(user.pk), 1)


@pytest.mark.parametrize("is_subscribed", [True, False])
def test_p6_a_dump_without_user_keys_is_not_loaded(is_subscribed: bool, tmp_path: Any) -> None:
    """Without their keys in the dump, users get new ones, but stream names have the old ones."""
    fill_site()
    if not is_subscribed:
        Subscription.objects.all().delete()
    path = dump(tmp_path, *DJANGOS, "--natural-foreign", "--natural-primary")
    flush()
    with pytest.raises(Renumbered, match="--natural-primary"):
        call_command("loaddata", path, verbosity=0)
    assert not get_user_model().objects.exists()
    assert not Notification.objects.exists()


def test_p6_private_streams_are_not_loaded_for_another_user(tmp_path: Any) -> None:
    user = fill_site()
    path = dump(tmp_path, "notifications", "--natural-foreign")
    name = user.username
    flush()
    make_user("somebody else")
    make_user("another one")
    for number in range(4):
        make_user(f"person{number}")
    make_old_users(2)
    Stream.objects.all().delete()
    assert get_user_model().objects.get(username=name).pk != user.pk
    with pytest.raises(Renumbered, match="belong to somebody else"):
        call_command("loaddata", path, verbosity=0)


def test_a_loaded_user_can_join_groups_later(tmp_path: Any) -> None:
    user = fill_site()
    path = dump(tmp_path, *DJANGOS)
    flush()
    call_command("loaddata", path, verbosity=0)
    group = Group.objects.create(name="new")
    get_user_model().objects.get(pk=user.pk).groups.add(group)
    assert Subscription.objects.filter(user=user, stream__name=f"group:{group.pk}").exists()
