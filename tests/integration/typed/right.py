"""What a host may write: type checkers find nothing here, and know the type of each result."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import assert_type

from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template import Context
from django.test import TestCase
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from notifications import abroadcast, anotify, broadcast, inbox, notify, signals
from notifications.connect.authentication import make_token
from notifications.models import Level, Notification, NotificationQuerySet
from notifications.publishing.notify import originals, publish, withdraw
from notifications.templatetags.notifications import notifications_unread
from notifications.testing import (
    Captured,
    NotificationsMixin,
    NotificationSocket,
    Received,
    captured_notifications,
)


def everybody() -> Iterator[User]:
    yield from User.objects.all()


def send(user: User, users: QuerySet[User], group: Group) -> None:
    assert_type(notify(user, "Shipped"), Sequence[int])
    notify([user], "Shipped", level="success", kind="order.shipped", url="/orders/7/")
    notify(users, _("Shipped"), body=_("It is on its way."), url=reverse_lazy("orders"))
    notify(users.filter(is_active=True)[:5], "Shipped", progress=print)
    notify(users.values("username"), "Shipped", actor=user, key="order-7")
    notify(everybody(), "Shipped", data={"order": 7, "when": timezone.now()})
    tomorrow: datetime = timezone.now() + timedelta(days=1)
    notify(user, "Shipped", publish_at=tomorrow, expires_at=None, level=Level.WARNING)

    sent = broadcast("Maintenance", to="everyone", level="warning")
    assert_type(sent, Notification)
    assert_type(sent.title, str)
    assert_type(sent.stream_name, str)
    broadcast("Backup failed", to="staff")
    broadcast("Release 3", to="topic:releases")
    broadcast("Meeting", to=group)

    assert_type(publish("topic:releases", "Release 3"), int)
    assert_type(originals([1, 2]), list[int])
    assert_type(withdraw(Notification.objects.filter(kind="order.shipped")), int)


async def send_asynchronously(user: User) -> None:
    assert_type(await anotify(user, "Shipped", level="info"), Sequence[int])
    assert_type(await abroadcast("Maintenance", to="everyone"), Notification)


def send_by_signal(user: User, group: Group) -> None:
    signals.push.send(None, to=user, title="Shipped", level="info")
    signals.push.send_robust(send, to="everyone", title="Shipped")
    signals.notify.send(user, recipient=group, verb="liked", target=user, colour="red")


def read(request: HttpRequest, user: User) -> None:
    assert_type(inbox.unread_count(request.user), int)
    page = inbox.list_entries(user, "unread", limit=5)
    assert_type(page, inbox.Entries)
    entry = page.entries[0]
    assert_type(entry.notification, Notification)
    assert_type(entry.notification.title, str)
    assert_type(entry.read_at, datetime | None)
    assert_type(inbox.mark_read(user, [entry.notification.pk]), list[int])
    assert_type(inbox.archive(user, [1]), list[int])
    inbox.read_all(user)
    assert_type(inbox.mute(user, "broadcast"), bool)
    assert_type(inbox.join(user, "topic:news"), bool)
    assert_type([topic.slug for topic in inbox.topics(user)], list[str])
    assert_type(Notification.objects.unread(user).published(), NotificationQuerySet)
    assert_type(Notification.objects.visible().unread(user).count(), int)


def show(user: User) -> str:
    assert_type(notifications_unread(Context({"user": user})), int)
    return make_token(user, lifetime=None)


class OrderTests(NotificationsMixin, TestCase):
    def test_sending(self) -> None:
        user = User()
        assert_type(self.assertNotified(user, "Shipped", level="success", count=1), Notification)
        self.assertNotNotified("everyone", kind="order.shipped")
        self.assertNothingSent()
        assert_type(self.notifications, Captured)
        with captured_notifications(publish=True) as sent:
            assert_type(sent[0], Notification)
            assert_type(sent[1:], list[Notification])
            assert_type(sent.to(user), list[Notification])

    async def test_receiving(self) -> None:
        async with NotificationSocket(User()) as socket:
            assert_type(socket, NotificationSocket)
            received = await socket.receive()
            assert_type(received, Received)
            assert_type(received.offset, int)
            assert_type(await socket.close_code(), int)
