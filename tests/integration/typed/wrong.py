"""What a host must not write: each line with a comment has one error, which names those words."""

from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.test import TestCase

import notifications
from notifications import abroadcast, anotify, broadcast, inbox, notify, signals
from notifications.connect.authentication import make_token
from notifications.models import Notification
from notifications.publishing.notify import publish
from notifications.testing import NotificationsMixin, NotificationSocket, captured_notifications


def send(user: User, group: Group, notification: Notification) -> None:
    notify(user, "Shipped", levle="info")  # levle
    notify(user, "Shipped", level="loud")  # level
    notify(user, 7)  # Promise
    notify("everyone", "Shipped")  # str
    notify(group, "Shipped")  # Group
    notify(user, "Shipped", publish_at="tomorrow")  # publish_at
    notify(user, "Shipped", data=[1])  # data
    notify(user, "Shipped", actor="ada")  # actor
    broadcast("Maintenance", bdoy="At 22:00")  # bdoy
    broadcast("Maintenance", to=user)  # User
    broadcast("Maintenance", progress=print)  # progress
    publish("topic:a", "Release 3", offset=7)  # offset
    str(notifications.notfy)  # notfy
    str(notification.titel)  # titel


def anybody(request: HttpRequest) -> None:
    notify(request.user, "Shipped")  # AnonymousUser
    make_token(request.user)  # AnonymousUser
    inbox.mark_read(request.user, [1])  # AnonymousUser


async def send_asynchronously(user: User) -> None:
    await anotify(user, "Shipped", ulr="/")  # ulr
    await abroadcast("Maintenance", levle="info")  # levle


def send_by_signal(user: User) -> None:
    signals.push.send(None, to=user, titel="Shipped")  # titel
    signals.push.send_robust(None, to=user, title="Shipped", levle="info")  # levle
    signals.notify.send(user, recipient=user, verb="liked", level="loud")  # level


def read(user: User) -> None:
    inbox.list_entries(user, "unraed")  # unraed
    inbox.mark_read(user, "1")  # str
    inbox.archiv(user, [1])  # archiv
    Notification.objects.unraed(user)  # unraed
    Notification.objects.unread("ada")  # str
    make_token(user, "1 hour")  # float


class OrderTests(NotificationsMixin, TestCase):
    def test_sending(self) -> None:
        self.assertNotified(User(), "Shipped", levle="success")  # levle
        self.assertNotNotified(7)  # AbstractBaseUser
        self.assertNothingSnet()  # assertNothingSnet
        captured_notifications(publsh=True)  # publsh
        with captured_notifications() as sent:
            sent.assert_notified("everyone", titel="Shipped")  # titel

    async def test_receiving(self) -> None:
        async with NotificationSocket(User(), tokn="") as socket:  # tokn
            await socket.recieve()  # recieve
