"""Tests of the receivers for users, groups and sessions of the host (P6)."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model, logout
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.test import Client, RequestFactory

from notifications import broadcast, notify
from notifications.connect.sessions import session_digest
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.streams import revisions, rights
from notifications.streams.feeds import load_inboxes
from tests.rooms import hints, make_old_users, make_user, queries, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)

Hints = list[tuple[str, dict[str, Any]]]


def subscribed(user: Any) -> set[str]:
    rows = Subscription.objects.filter(user=user.pk)
    return set(rows.values_list("stream__name", flat=True))


def looked_at(sent: Hints) -> list[str]:
    """Return the streams of the users whose rights the hubs were asked to check again."""
    return sorted(s for s, message in sent if message["type"] == "notifications.changed")


def revision(user: Any) -> int:
    return Stream.objects.get(name=f"user:{user.pk}").revision


# Users


def test_a_new_user_is_subscribed_from_now_on() -> None:
    broadcast("old")
    broadcast("old", to="staff")
    reader, worker = make_user("a"), make_user("b", is_staff=True)
    assert subscribed(reader) == {f"user:{reader.pk}", "broadcast"}
    assert subscribed(worker) == {f"user:{worker.pk}", "broadcast", "staff"}
    shared = Subscription.objects.exclude(stream__name__startswith="user:")
    assert set(shared.values_list("since", "delivered", "read")) == {(1, 1, 1)}


def test_a_new_user_whose_transaction_fails_leaves_nothing_behind() -> None:
    with hints() as sent, rolled_back():
        make_user()
    assert not Subscription.objects.exists()
    assert sent == []


def test_a_login_takes_no_query_and_sends_no_hint() -> None:
    user = make_user()
    assert len(queries(lambda: user.save(update_fields=["last_login"]))) == 1
    client = Client()
    with hints() as sent:
        client.force_login(user)
    assert sent == []


def test_other_saves_take_at_most_three_small_queries() -> None:
    worker, reader = make_user("a", is_staff=True), make_user("b")
    load_inboxes([worker, reader])
    for user in (worker, reader):
        assert len(queries(user.save)) <= 1 + 3
        assert len(queries(lambda: user.save(update_fields=["email"]))) == 1  # noqa: B023


def test_the_staff_stream_follows_is_staff() -> None:
    user = make_user()
    load_inboxes([user])
    broadcast("old", to="staff")
    user.is_staff = True
    with hints() as sent:
        user.save()
    assert "staff" in subscribed(user)
    assert load_inboxes([user])[user.pk][-1].since == 1
    assert looked_at(sent) == [f"user:{user.pk}"]
    user.is_staff = False
    with hints() as sent:
        user.save(update_fields=["is_staff"])
    assert subscribed(user) == {f"user:{user.pk}", "broadcast"}
    assert looked_at(sent) == [f"user:{user.pk}"]


@pytest.mark.parametrize("field", ["is_active", "password"])
def test_a_changed_right_is_announced_after_the_commit(field: str) -> None:
    user = make_user()
    load_inboxes([user])
    setattr(user, field, False if field == "is_active" else "changed")
    with hints() as sent, transaction.atomic():
        user.save(update_fields=[field])
        assert sent == []
    assert looked_at(sent) == [f"user:{user.pk}"]
    assert revision(user) == 1


def test_a_change_of_rights_that_is_rolled_back_is_not_announced() -> None:
    user = make_user()
    load_inboxes([user])
    with hints() as sent, rolled_back():
        user.is_active = False
        user.save()
    assert sent == []
    assert revision(user) == 0


def test_fixtures_are_loaded_unchanged(tmp_path: Any) -> None:
    make_user()
    dump = tmp_path / "users.json"
    call_command("dumpdata", "auth.user", output=str(dump), verbosity=0)
    get_user_model().objects.all().delete()
    with hints() as sent:
        call_command("loaddata", str(dump), verbosity=0)
    assert sent == []
    assert not Subscription.objects.exists()


def test_proxies_of_the_user_model_are_users() -> None:
    class Person(get_user_model()):  # type: ignore[misc]
        class Meta:
            proxy = True
            app_label = "auth"

    try:
        person = Person.objects.create(username="a")
        assert subscribed(person) == {f"user:{person.pk}", "broadcast"}
        with hints() as sent:
            person.save()
        assert looked_at(sent) == [f"user:{person.pk}"]
    finally:
        from django.apps import apps  # noqa: PLC0415 - for this cleanup only

        del apps.all_models["auth"]["person"]
        apps.clear_cache()


def test_the_private_stream_is_deleted_with_its_user() -> None:
    user, other = make_user("a"), make_user("b")
    notify([user, other], "private", actor=user)
    load_inboxes([user, other])
    pk, own = user.pk, f"user:{user.pk}"
    with hints() as sent:
        user.delete()
    assert not Stream.objects.filter(name=own).exists()
    assert [n.stream_name for n in Notification.objects.all()] == [f"user:{other.pk}"]
    assert Notification.objects.get().actor is None
    assert not Subscription.objects.filter(user=pk).exists()
    assert looked_at(sent) == [own]


def test_deleting_many_users_by_a_queryset() -> None:
    users = make_old_users(20)
    notify(users, "private")
    load_inboxes(users)
    with hints() as sent:
        get_user_model().objects.all().delete()
    assert not Notification.objects.exists()
    assert not Subscription.objects.exists()
    assert len(looked_at(sent)) == 20


# Groups


@pytest.fixture
def group() -> Group:
    group = Group.objects.create(name="a")
    broadcast("old", to=group)
    return group


def test_joining_and_leaving_from_the_users_side(group: Group) -> None:
    user, name = make_user(), f"group:{group.pk}"
    other = Group.objects.create(name="b")
    load_inboxes([user])
    with hints() as sent:
        user.groups.add(group, other)
    assert {name, f"group:{other.pk}"} <= subscribed(user)
    assert Subscription.objects.get(stream__name=name).since == 1
    assert looked_at(sent) == [f"user:{user.pk}"]
    with hints() as sent:
        user.groups.remove(group)
    assert name not in subscribed(user)
    assert looked_at(sent) == [f"user:{user.pk}"]
    with hints() as sent:
        user.groups.clear()
    assert f"group:{other.pk}" not in subscribed(user)
    assert looked_at(sent) == [f"user:{user.pk}"]


def test_joining_and_leaving_from_the_groups_side(group: Group) -> None:
    users, name = [make_user(f"u{n}") for n in range(3)], f"group:{group.pk}"
    own = sorted(f"user:{user.pk}" for user in users)
    with hints() as sent:
        group.user_set.add(*users)
    assert [name in subscribed(user) for user in users] == [True] * 3
    assert looked_at(sent) == own
    with hints() as sent:
        group.user_set.remove(users[0])
    assert [name in subscribed(user) for user in users] == [False, True, True]
    assert looked_at(sent) == own[:1]
    with hints() as sent:
        group.user_set.clear()
    assert [name in subscribed(user) for user in users] == [False] * 3
    assert looked_at(sent) == own[1:]


@pytest.mark.parametrize("clear", [False, True])
def test_setting_groups_keeps_positions_in_kept_groups_unless_cleared(
    group: Group, clear: bool
) -> None:
    user, other = make_user(), Group.objects.create(name="b")
    user.groups.set([group])
    broadcast("new", to=group)
    user.groups.set([group, other], clear=clear)
    assert {f"group:{group.pk}", f"group:{other.pk}"} <= subscribed(user)
    since = Subscription.objects.get(stream__name=f"group:{group.pk}").since
    assert since == (2 if clear else 1)


def test_a_clear_that_is_rolled_back_changes_nothing(group: Group) -> None:
    user = make_user()
    user.groups.add(group)
    with hints() as sent, rolled_back():
        user.groups.clear()
    assert f"group:{group.pk}" in subscribed(user)
    assert sent == []


def test_a_change_without_users_is_not_announced(group: Group) -> None:
    user = make_user()
    user.groups.add(group)
    with hints() as sent:
        user.groups.add(group)
        user.groups.add()
        group.user_set.remove(make_user("b"))
        make_user("c").groups.clear()
    # Django sends the signal of a removal even if the user was not a member.
    assert len(looked_at(sent)) == 1


def test_changes_of_many_members_are_announced_in_chunks(group: Group) -> None:
    users = make_old_users(1100)
    load_inboxes(users)
    statements: list[str] = []
    with hints() as sent:
        statements = queries(lambda: group.user_set.add(*users))
    assert len(looked_at(sent)) == 1100
    assert len([sql for sql in statements if '"revision" = ("' in sql]) == 3
    assert len(statements) < 60


def test_the_stream_of_a_group_is_deleted_with_it(group: Group) -> None:
    user, name = make_user(), f"group:{group.pk}"
    user.groups.add(group)
    broadcast("new", to=group)
    with hints() as sent:
        group.delete()
    assert not Stream.objects.filter(name=name).exists()
    assert subscribed(user) == {f"user:{user.pk}", "broadcast"}
    assert not Notification.objects.exists()
    assert not Receipt.objects.exists()
    assert looked_at(sent) == [f"user:{user.pk}"]


# Sessions


def test_a_logout_announces_the_digest_of_its_session() -> None:
    user, client = make_user(), Client()
    load_inboxes([user])
    client.force_login(user)
    key = client.session.session_key
    assert key is not None
    with hints() as sent:
        client.logout()
    assert not Session.objects.exists()
    ((stream, message),) = sent
    assert stream == f"user:{user.pk}"
    assert message["session"] == session_digest(key)
    assert key not in str(message)
    assert revision(user) == 1


def test_a_logout_without_a_user_is_not_announced() -> None:
    request: Any = RequestFactory().get("/")
    request.session = Client().session
    with hints() as sent:
        logout(request)
        user_logged_out.send(None, request=RequestFactory().get("/"), user=None)
    assert sent == []


def test_a_logout_without_a_session_is_announced() -> None:
    user = make_user()
    with hints() as sent:
        user_logged_out.send(None, request=RequestFactory().get("/"), user=user)
    assert [message["session"] for _, message in sent] == [""]


# Hints to the hubs


def test_a_database_error_does_not_prevent_the_hints(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(names: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(revisions, "touch", fail)
    with hints() as sent:
        rights.changed([1, 2])
    assert looked_at(sent) == ["user:1", "user:2"]
    assert "Error calling" in caplog.text


def test_no_users_take_no_query_and_no_hint() -> None:
    with hints() as sent:
        assert queries(lambda: rights.changed([])) == []
    assert sent == []
