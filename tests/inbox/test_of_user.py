"""``user.notifications``, as sites know it that come from django-notifications."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import models

from notifications import broadcast, inbox, notify
from notifications.inbox.of_user import attach
from notifications.models import Notification
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


def titles(rows) -> list[str]:
    return [row.title for row in rows]


@pytest.fixture
def user():
    """Somebody with a read, an archived and two unread notifications, one of them shared."""
    user = make_user("ada")
    inbox.mark_read(user, notify(user, "read"))
    inbox.archive(user, notify(user, "archived"))
    notify(user, "private", kind="order.shipped")
    broadcast("shared")
    notify(make_user("other"), "of somebody else")
    return user


def test_states_are_those_of_the_inbox(user) -> None:
    assert titles(user.notifications.unread()) == ["shared", "private"]
    assert titles(user.notifications.read()) == ["read"]
    assert titles(user.notifications.all()) == ["shared", "private", "read"]
    assert titles(user.notifications.active()) == ["shared", "private", "read"]
    assert titles(user.notifications.deleted()) == ["archived"]
    assert user.notifications.count() == 3
    assert user.notifications.unread().count() == inbox.unread_count(user) == 2


def test_querysets_can_be_narrowed_and_remember_whose_they_are(user) -> None:
    assert titles(user.notifications.filter(kind="order.shipped").unread()) == ["private"]
    assert titles(user.notifications.exclude(title="shared").read()) == ["read"]
    assert titles(user.notifications.unread()[:1]) == ["shared"]
    assert user.notifications.filter(title="private").exists()
    assert user.notifications.first().title == "shared"


def test_marking_all_as_read_leaves_nothing(user) -> None:
    assert user.notifications.mark_all_as_read() == 2
    assert inbox.unread_count(user) == 0
    assert user.notifications.mark_all_as_read() == 0


def test_marking_some_as_read_leaves_the_others(user) -> None:
    assert user.notifications.filter(title="private").mark_all_as_read() == 1
    assert titles(user.notifications.unread()) == ["shared"]
    assert user.notifications.unread().mark_all_as_read() == 1
    assert inbox.unread_count(user) == 0


def test_marking_as_unread_and_as_deleted(user) -> None:
    assert user.notifications.read().mark_all_as_unread() == 1
    assert titles(user.notifications.unread()) == ["shared", "private", "read"]
    assert user.notifications.filter(title="read").mark_all_as_deleted() == 1
    assert titles(user.notifications.deleted()) == ["archived", "read"]


def test_a_user_who_is_not_active_has_none(user) -> None:
    user.is_active = False
    user.save()
    assert titles(user.notifications.all()) == []
    assert user.notifications.mark_all_as_read() == 0


def test_nobody_has_no_such_attribute() -> None:
    assert not hasattr(AnonymousUser(), "notifications")


def test_an_attribute_of_the_host_stays() -> None:
    class Member:
        notifications = "of the host"

    class Guest:
        pass

    assert not attach(Member)
    assert Member().notifications == "of the host"
    assert attach(Guest)
    guest = Guest()
    guest.notifications = "of this one"  # type: ignore[attr-defined]
    assert guest.notifications == "of this one"  # type: ignore[attr-defined]


def test_it_is_no_field() -> None:
    names = {field.name for field in get_user_model()._meta.get_fields()}
    assert "notifications" not in names
    assert isinstance(Notification.objects, models.Manager)
