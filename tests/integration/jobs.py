"""Jobs that tests run in a second process, through :class:`~.processes.SecondProcess`.

Their arguments and results cross a process boundary, so they must be serializable as JSON.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import Error as DatabaseError
from django.db import connections as databases
from django.db import transaction
from django.test import Client as Browser
from django.utils import timezone

from notifications import broadcast, notify
from notifications.connect.authentication import make_token
from notifications.connect.tokens import make_subscription_token
from notifications.inbox import mark_read, unread_count
from notifications.models import (
    Connection,
    Notification,
    Receipt,
    Stream,
    Subscription,
    Worker,
    new_epoch,
)
from notifications.publishing import immediate, inserting, mailings
from notifications.publishing.channels import publish as publish_data
from notifications.publishing.sequencing import sequence
from notifications.streams import rights
from notifications.streams.names import user_stream
from notifications.streams.rows import ensure

# People


def make_user(
    name: str,
    *,
    staff: bool = False,
    superuser: bool = False,
    password: str = "",
    permissions: tuple[str, ...] = (),
) -> int:
    user = get_user_model().objects.create(
        username=name, is_staff=staff or superuser, is_superuser=superuser
    )
    if password:
        user.set_password(password)
        user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return int(user.pk)


def make_users(prefix: str, count: int) -> list[tuple[int, str, str]]:
    """Create users; return the primary key, the name and a token of each."""
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=f"{prefix}{number}") for number in range(count)
    )
    return [(int(user.pk), user.username, make_token(user, None)) for user in users]


def find_user(name: str) -> int:
    return int(get_user_model().objects.get(username=name).pk)


def subscription_token(user_id: int, channel: str, lifetime: float) -> str:
    user = get_user_model().objects.get(pk=user_id)
    return make_subscription_token(user, channel, lifetime)


def token_of(user_id: int, lifetime: float | None = None) -> str:
    return make_token(get_user_model().objects.get(pk=user_id), lifetime)


def log_in(user_id: int) -> str:
    """Create a session of the user and return the value of a ``Cookie`` header."""
    browser = Browser()
    browser.force_login(get_user_model().objects.get(pk=user_id))
    return f"sessionid={browser.cookies['sessionid'].value}"


def change_user(user_id: int, **fields: Any) -> None:
    user = get_user_model().objects.get(pk=user_id)
    for name, value in fields.items():
        setattr(user, name, value)
    user.save()


def set_password(user_id: int, password: str) -> None:
    user = get_user_model().objects.get(pk=user_id)
    user.set_password(password)
    user.save()


def delete_user(user_id: int) -> None:
    get_user_model().objects.get(pk=user_id).delete()


def make_group(name: str, user_ids: list[int]) -> int:
    group = Group.objects.create(name=name)
    group.user_set.set(user_ids)
    return group.pk


def fill_groups(user_id: int, groups: int, count: int, size: int) -> dict[str, list[str]]:
    """Create groups with this user as a member and a backlog of large notifications.

    Args:
        user_id: the member.
        groups: number of groups.
        count: notifications in each group.
        size: size of each notification's body in bytes.

    Returns:
        Titles by channel.
    """
    titles: dict[str, list[str]] = {}
    user = get_user_model().objects.get(pk=user_id)
    for number in range(groups):
        group = Group.objects.create(name=f"backlog {user_id} {number}")
        group.user_set.add(user)
        channel = f"group:{group.pk}"
        titles[channel] = [f"{channel} n{n}" for n in range(count)]
        for title in titles[channel]:
            broadcast(title, body="x" * size, to=group)
    return titles


def join_group(group_id: int, user_id: int) -> None:
    Group.objects.get(pk=group_id).user_set.add(user_id)


def leave_group(group_id: int, user_id: int) -> None:
    Group.objects.get(pk=group_id).user_set.remove(user_id)


def delete_group(group_id: int) -> None:
    Group.objects.get(pk=group_id).delete()


# Publishing


def notify_user(user_id: int, titles: list[str], delay: float = 0) -> list[int]:
    """Notify the user of each title, in a separate transaction; ``delay`` is in seconds."""
    user = get_user_model().objects.get(pk=user_id)
    at = timezone.now() + timedelta(seconds=delay) if delay else None
    return [notify(user, title, publish_at=at)[0] for title in titles]


def notify_together(user_ids: list[int], titles: list[str]) -> None:
    """Notify all of these users of each title, with one call for each."""
    for title in titles:
        notify(get_user_model().objects.filter(pk__in=user_ids), title)


def notify_together_and_roll_back(user_ids: list[int], title: str) -> None:
    with transaction.atomic():
        notify_together(user_ids, [title])
        transaction.set_rollback(True)


def notify_amply(user_id: int, count: int, size: int) -> None:
    """So many, and each with so many characters of data."""
    user = get_user_model().objects.get(pk=user_id)
    for number in range(count):
        notify(user, f"ample {number}", data={"filling": "x" * size})


def notify_slowly(user_id: int, titles: list[str], pause: float) -> None:
    """Notify the user of one title after another, ``pause`` seconds apart."""
    for title in titles:
        notify_user(user_id, [title])
        time.sleep(pause)


def publish_with_retries(
    user_ids: list[int], mark: str, count: int, pause: float
) -> dict[str, list[str]]:
    """Publish private notifications and broadcasts in turn, and retry each until it has committed.

    After an error it is unknown whether the transaction has committed; the key makes a retry safe.

    Args:
        user_ids: the recipients.
        mark: prefix of the titles, which the channel and the number follow.
        count: number of notifications to each user, and of broadcasts.
        pause: seconds between two rounds.

    Returns:
        Titles by channel, in the order of their commits.
    """
    users = [get_user_model()(pk=user_id) for user_id in user_ids]
    publishers: dict[str, Callable[..., Any]] = {
        user_stream(user.pk): partial(notify, user) for user in users
    }
    publishers["broadcast"] = broadcast
    committed: dict[str, list[str]] = defaultdict(list)
    for number in range(count):
        for channel, publish in publishers.items():
            title = f"{mark} {channel} {number}"
            _until_committed(publish, title)
            committed[channel].append(title)
        time.sleep(pause)
    return committed


def _until_committed(publish: Callable[..., Any], title: str) -> None:
    data = {"at": time.monotonic()}
    while True:
        try:
            publish(title, key=title, data=data)
        except DatabaseError:
            databases.close_all()
            time.sleep(0.2)
        else:
            return


def notify_in_one_transaction(user_id: int, titles: list[str]) -> None:
    with transaction.atomic():
        notify_user(user_id, titles)


def notify_in_bulk(user_id: int, titles: list[str], size: int = 0) -> None:
    """Write notifications with a body of ``size`` characters in bulk, which is faster."""
    stream = ensure([user_stream(user_id)])[user_stream(user_id)]
    body = "x" * size
    Notification.objects.bulk_create(
        Notification(stream=stream, title=title, body=body) for title in titles
    )
    sequence([stream.pk])


def publish_to(channel: str, things: list[Any]) -> None:
    """Publish these to a channel of a namespace, one after the other."""
    for data in things:
        publish_data(channel, data)


def broadcast_to(to: str, titles: list[str]) -> None:
    for title in titles:
        broadcast(title, to=to)


def notify_in_a_long_transaction(user_id: int, title: str, folder: str) -> None:
    """Notify the user, say so by a file "written", and commit once there is a file "commit"."""
    with transaction.atomic():
        notify_user(user_id, [title])
        (Path(folder) / "written").touch()
        while not (Path(folder) / "commit").exists():
            time.sleep(0.02)


def notify_and_roll_back(user_id: int, title: str) -> None:
    with transaction.atomic():
        notify_user(user_id, [title])
        transaction.set_rollback(True)


def notify_and_die(user_id: int, title: str) -> None:
    """Notify the user and end the process between the commit and the sequencing."""
    with transaction.atomic():
        transaction.on_commit(lambda: os._exit(9))
        notify_user(user_id, [title])


def notify_at_once_and_die(user_id: int, title: str) -> None:
    """Write a notification with its offset, and end the process before it is announced."""
    with patch.object(inserting, "announce_batch", lambda *args: os._exit(9)):
        notify_user(user_id, [title])


def notify_many_and_die(user_ids: list[int], title: str) -> None:
    """Make a call that is written in parts of two, and end the process after the first part."""
    written: list[int] = []
    write = mailings.write

    def write_or_die(mailing: int) -> None:
        if written:
            os._exit(9)
        written.append(mailing)
        write(mailing)

    users = get_user_model().objects.filter(pk__in=user_ids).order_by("pk")
    with (
        patch.object(immediate, "MAX_LOCKED", 2),
        patch.object(mailings, "CHUNK", 2),
        patch.object(mailings, "write", write_or_die),
    ):
        notify(list(users), title)


def sequence_stream(user_id: int) -> None:
    name = user_stream(user_id)
    sequence([ensure([name])[name].pk])


def leave_waiting(user_id: int, titles: list[str]) -> None:
    """Leave waiting notifications, as a process does that dies right after its commit."""
    stream = ensure([user_stream(user_id)])[user_stream(user_id)]
    Notification.objects.bulk_create(Notification(stream=stream, title=title) for title in titles)


# Streams


def prune(name: str, floor: int) -> None:
    """Delete the notifications up to offset ``floor``, and store the floor."""
    Notification.objects.filter(stream__name=name, offset__lte=floor).delete()
    Stream.objects.filter(name=name).update(floor=floor)


def reset_epoch(name: str) -> None:
    Stream.objects.filter(name=name).update(epoch=new_epoch())


def offsets(name: str) -> list[int | None]:
    rows = Notification.objects.filter(stream__name=name).order_by("pk")
    return list(rows.values_list("offset", flat=True))


def titles(name: str) -> list[str]:
    rows = Notification.objects.filter(stream__name=name).order_by("pk")
    return list(rows.values_list("title", flat=True))


def delivered(user_id: int, name: str) -> int:
    return Subscription.objects.get(user=user_id, stream__name=name).delivered


def wait_until_delivered(user_id: int, name: str, offset: int) -> None:
    """Wait until the user has acknowledged this offset.

    Raises:
        AssertionError: that takes longer than a minute.
    """
    deadline = time.monotonic() + 60
    while delivered(user_id, name) < offset:
        assert time.monotonic() < deadline, "it is not acknowledged"
        time.sleep(0.05)


def unread(user_id: int) -> int:
    return unread_count(get_user_model().objects.get(pk=user_id))


def read_elsewhere(user_id: int, ids: list[int]) -> None:
    """Mark as read in the second process, whose hints reach no server without Redis."""
    mark_read(get_user_model().objects.get(pk=user_id), ids)


# Presence


def connections() -> int:
    return Connection.objects.count()


def connections_of(user_id: int) -> int:
    return Connection.objects.filter(user=user_id).count()


def workers() -> int:
    return Worker.objects.count()


def connections_by_worker() -> dict[str, list[str]]:
    """The names of the users connected to each worker, by its process id."""
    found: dict[str, list[str]] = {}
    rows = Connection.objects.order_by("user__username", "pk")
    for pid, name in rows.values_list("worker__pid", "user__username"):
        found.setdefault(str(pid), []).append(name)
    return found


def client_of(user_id: int) -> str:
    """The client id of the user's only connection."""
    return str(Connection.objects.get(user=user_id).pk)


def worker_pids() -> list[int]:
    return list(Worker.objects.values_list("pid", flat=True))


def disconnect(user_id: int) -> None:
    """Close the user's connections, as the admin action does."""
    Connection.objects.filter(user=user_id).update(closing=True)
    rights.changed([user_id])


# A backup of the app's tables, and its restore

TABLES = [model._meta.db_table for model in (Stream, Notification, Subscription, Receipt)]


def back_up() -> None:
    with transaction.atomic(), databases["default"].cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"CREATE TABLE backup_of_{table} AS TABLE {table}")


def restore() -> None:
    """Restore the backup in one transaction, while the workers run."""
    with transaction.atomic(), databases["default"].cursor() as cursor:
        for table in reversed(TABLES):
            cursor.execute(f"DELETE FROM {table}")
        for table in TABLES:
            cursor.execute(f"INSERT INTO {table} SELECT * FROM backup_of_{table}")
            cursor.execute(f"DROP TABLE backup_of_{table}")


def epochs() -> dict[str, str]:
    return dict(Stream.objects.values_list("name", "epoch"))
