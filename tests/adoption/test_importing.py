"""Imported notifications are the history of their recipients, whatever has happened meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connections
from django.utils import timezone

from notifications import inbox, notify
from notifications.adoption import importing, mark, old_rows
from notifications.adoption.history import Beginning, Rewriting
from notifications.adoption.importing import Choice, OtherChoice
from notifications.adoption.reports import Report
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.streams.feeds import load_inbox
from notifications.streams.positions import Position, beginning, may_resume
from notifications.streams.pruning import prune
from tests.adoption.old_table import BEGINNING, COLUMNS, OldTable, old_table
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def table() -> Iterator[OldTable]:
    with old_table() as made:
        yield made


def titles(user) -> list[tuple[str, bool]]:
    """What the inbox shows, newest first, without the name of the actor."""
    entries = inbox.list_entries(user, limit=100).entries
    return [(e.notification.title.removeprefix(f"{user} "), e.read) for e in entries]


def own_stream(user) -> Stream:
    return Stream.objects.get(name=f"user:{user.pk}")


def offsets(user) -> list[int | None]:
    rows = Notification.objects.filter(stream=own_stream(user)).order_by("published_at")
    return list(rows.values_list("offset", flat=True))


def test_the_order_is_that_of_time_whatever_was_written_first(table: OldTable) -> None:
    user = make_user("ada")
    for day in (3, 1, 2, 2):
        table.add(user, f"day {day}", day)
    table.take()
    assert titles(user) == [("day 3", False), ("day 2", False), ("day 2", False), ("day 1", False)]
    assert offsets(user) == [1, 2, 3, 4]
    rows = Notification.objects.order_by("offset")
    assert rows[0].published_at == rows[0].created_at == BEGINNING + timedelta(days=1)


def test_nothing_that_is_imported_is_owed_to_a_device(table: OldTable) -> None:
    user = make_user("ada")
    table.add(user, "came")
    table.take()
    [feed] = [feed for feed in load_inbox(user) if feed.name.startswith("user:")]
    assert (feed.top, beginning(feed)) == (1, 1)
    notify(user, "new")
    [feed] = [feed for feed in load_inbox(user) if feed.name.startswith("user:")]
    assert (feed.top, beginning(feed)) == (2, 1)


def test_what_was_published_meanwhile_comes_after_history(table: OldTable) -> None:
    user = make_user("ada")
    read, unread = notify(user, "first"), notify(user, "second")
    inbox.mark_read(user, read)
    before = own_stream(user)
    [feed] = [feed for feed in load_inbox(user) if feed.name.startswith("user:")]
    table.add(user, "came", 1, unread=False)
    table.add(user, "saw", 2)
    # As if the clock of the old site had gone wrong.
    table.add(user, "won", unread=False, timestamp=timezone.now() + timedelta(days=900))
    table.take()
    assert titles(user) == [
        ("second", False),
        ("first", True),
        ("won", True),
        ("saw", False),
        ("came", True),
    ]
    assert offsets(user) == [1, 2, 3, 4, 5]
    assert inbox.unread_count(user) == 2
    after = own_stream(user)
    assert (after.top, after.published_at) == (5, before.published_at)
    assert after.revision > before.revision
    # Whoever has a position learns that offsets stand for something else.
    [now] = [feed for feed in load_inbox(user) if feed.name.startswith("user:")]
    assert not may_resume(now, Position(feed.epoch, feed.top))
    assert beginning(now) == 3
    assert list(Notification.objects.filter(pk__in=unread).values_list("offset", flat=True)) == [5]


def test_history_is_not_archived_with_what_came_later(table: OldTable) -> None:
    user = make_user("ada")
    notify(user, "later")
    inbox.archive_all(user)
    table.add(user, "came", 1, unread=False)
    table.add(user, "saw", 2)
    table.take()
    assert titles(user) == [("saw", False), ("came", True)]
    archived = inbox.list_entries(user, "archived").entries
    assert [entry.notification.title for entry in archived] == ["later"]


def test_history_lies_before_what_was_pruned(table: OldTable) -> None:
    user = make_user("ada")
    notify(user, "pruned")
    prune(timezone.now() + timedelta(days=1))
    table.add(user, "came", 1)
    table.take()
    assert titles(user) == [("came", False)]
    notify(user, "new")
    assert titles(user) == [("new", False), ("came", False)]
    assert offsets(user) == [1, 3]
    stream = own_stream(user)
    assert (stream.floor, stream.top) == (2, 3)


@pytest.mark.parametrize("states", ["rrruu", "urrrr", "ururr", "uuuur", "uuuuu", "rrrrr"])
def test_read_is_what_was_read(table: OldTable, states: str) -> None:
    user = make_user("ada")
    for day, state in enumerate(states):
        table.add(user, f"day {day}", day, unread=state == "u")
    table.take()
    found = "".join("r" if is_read else "u" for _, is_read in reversed(titles(user)))
    assert found == states
    assert inbox.unread_count(user) == states.count("u")
    assert Receipt.objects.count() <= len(states) // 2


def test_marks_go_on_from_there(table: OldTable) -> None:
    user = make_user("ada")
    for day in range(3):
        table.add(user, f"day {day}", day, unread=day != 1)
    table.take()
    ids = [entry.notification.pk for entry in inbox.list_entries(user).entries]
    inbox.mark_read(user, ids[:1])
    assert inbox.unread_count(user) == 1
    inbox.read_all(user)
    assert inbox.unread_count(user) == 0


def test_what_is_left_out_is_counted(table: OldTable) -> None:
    user, other = make_user("ada"), make_user("bob")
    table.add(user, "came", unread=False)
    table.add(user, "saw", deleted=True)
    table.add(user, "won", 5)
    table.add(other, "stayed")
    get_user_model().objects.filter(pk=other.pk).delete()
    chosen = Choice(since=BEGINNING + timedelta(days=1))
    assert table.work(chosen).rehearse(lambda report: None) == (
        Report(recipients=1, unread=1, deleted=1, not_chosen=1, orphaned=1, old=1)
    )
    assert not Notification.objects.exists()
    report = table.take(chosen)
    assert (report.imported, report.deleted, report.not_chosen, report.orphaned) == (1, 1, 1, 1)
    assert titles(user) == [("won", False)]


def test_what_is_imported_is_decided_once(table: OldTable) -> None:
    user = make_user("ada")
    table.add(user, "came", unread=False)
    table.add(user, "saw")
    table.take(Choice(unread_only=True))
    with pytest.raises(OtherChoice):
        table.take()
    table.take(Choice(unread_only=True))
    assert titles(user) == [("saw", False)]


def test_what_was_pruned_since_then_does_not_come_back(table: OldTable) -> None:
    table.add(make_user("ada"), "came")
    table.take()
    prune(timezone.now())
    table.take()
    assert not Notification.objects.exists()


def test_a_run_goes_on_where_one_has_failed(table: OldTable) -> None:
    users = [make_user(f"user{number}") for number in range(5)]
    for user in users:
        for day in range(3):
            table.add(user, f"day {day}", day)

    class Killed(BaseException):
        pass

    def kill(report: Report) -> None:
        if report.recipients == 2:
            raise Killed

    with pytest.raises(Killed):
        table.work(size=3).run(kill)
    assert mark.read(connections["default"]).report.imported == 6
    assert table.take(size=3).imported == 15
    for user in users:
        assert [title for title, _ in titles(user)] == ["day 2", "day 1", "day 0"]


def test_a_transaction_takes_whole_recipients(table: OldTable) -> None:
    for name, count in (("ada", 3), ("bob", 1), ("cyd", 1), ("dan", 2)):
        user = make_user(name)
        for day in range(count):
            table.add(user, "came", day)
    steps: list[int] = []
    table.work(size=2).run(lambda report: steps.append(report.imported))
    assert steps == [3, 5, 7, 7]


def test_two_runs_at_once_import_everything_once(table: OldTable) -> None:
    users = [make_user(f"user{number}") for number in range(20)]
    for user in users:
        table.add(user, "came")
    failures: list[Exception] = []

    def run() -> None:
        try:
            table.take(size=1)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Notification.objects.count() == len(users)
    assert set(Stream.objects.filter(name__startswith="user:").values_list("top", flat=True)) == {1}


def test_a_user_without_rows_of_ours_gets_them(table: OldTable) -> None:
    user = make_user("ada")
    Subscription.objects.all().delete()
    Stream.objects.filter(name=f"user:{user.pk}").delete()
    table.add(user, "came")
    table.take()
    assert titles(user) == [("came", False)]


def test_an_object_that_asks_in_vain_disturbs_nothing(
    table: OldTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [make_user("ada"), make_user("bob"), make_user("cyd")]
    for user in users:
        table.add(user, "came")

    def name(user):
        if user.username == "bob":
            user.groups.raw("SELECT no_such_column FROM auth_group")[0]
        return user.username

    monkeypatch.setattr(get_user_model(), "__str__", name)
    assert table.take().unnamed == 1
    found = set(Notification.objects.values_list("title", flat=True))
    assert found == {"ada came", f"user {users[1].pk} came", "cyd came"}


def test_an_early_release_lacks_columns() -> None:
    columns = """
        id integer PRIMARY KEY, level varchar(20), recipient_id {user}, unread bool, verb text,
        actor_content_type_id integer, actor_object_id varchar(255), timestamp {time}
    """
    user = make_user("ada")
    with old_table("early", columns) as table:
        table.add(user, "came")
        table.take()
    assert titles(user) == [("came", False)]
    assert Notification.objects.get().data == {"verb": "came"}


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_notifications_of_nobody_are_left_out_and_counted(size: int) -> None:
    user = make_user("ada")
    columns = COLUMNS.replace("recipient_id {user} NOT NULL", "recipient_id {user}")
    with old_table("of_nobody", columns) as table:
        table.add(user, "to nobody", recipient_id=None)
        table.add(user, "came")
        table.add(user, "to nobody", recipient_id=None)
        assert table.work(size=size).rehearse(lambda report: None).orphaned == 2
        report = table.take(size=size)
        assert (report.imported, report.orphaned, report.passed) == (1, 2, 3)
    assert titles(user) == [("came", False)]


def test_a_transaction_takes_a_limited_number_of_recipients(
    table: OldTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Databases limit the values of a query."""
    monkeypatch.setattr(old_rows, "RECIPIENTS", 2)
    users = [make_user(f"user{number}") for number in range(3)]
    for user in users:
        table.add(user, "came")
    steps: list[int] = []
    table.work(size=10**9).run(lambda report: steps.append(report.imported))
    assert steps == [2, 3, 3]


def test_what_a_host_leaves_empty_has_its_default() -> None:
    user = make_user("ada")
    columns = COLUMNS.replace(" NOT NULL", "")
    empty = ("level", "unread", "verb", "public", "deleted", "emailed")
    with old_table("half_empty", columns) as table:
        table.add(user, "came")
        with connections["default"].cursor() as cursor:
            cursor.execute(f"UPDATE half_empty SET {', '.join(f'{name} = NULL' for name in empty)}")
        assert table.take() == Report(recipients=1, unread=1, old=1)
    notification = Notification.objects.get()
    assert (notification.title, notification.level) == ("ada", "info")
    assert notification.data == {"verb": ""}


def test_a_key_is_as_long_as_the_column_allows() -> None:
    user = make_user("ada")
    columns = COLUMNS.replace("id integer PRIMARY KEY", "id varchar(255) PRIMARY KEY", 1)
    with old_table("t" * 60, columns) as table:
        table.add(user, "came", id="x" * 254 + "1")
        table.add(user, "saw", 1, id="x" * 254 + "2")
        table.take()
    keys = set(Notification.objects.values_list("key", flat=True))
    assert len(keys) == 2
    assert max(len(key or "") for key in keys) <= 200


class NothingOnReplica:
    def db_for_read(self, model: type, **hints: object) -> str:
        return "replica"

    def db_for_write(self, model: type, **hints: object) -> str:
        return "default"


def test_a_replica_is_not_asked_who_is_there(table: OldTable, settings) -> None:
    user = make_user("ada")
    table.add(user, "came")
    settings.DATABASE_ROUTERS = [f"{__name__}.NothingOnReplica"]
    work = table.work()
    assert work.rehearse(lambda report: None).unnamed == 0
    report = work.run(lambda report: None)
    assert (report.imported, report.unnamed) == (1, 0)


def test_a_host_may_write_to_its_table_meanwhile(
    table: OldTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read twice is the same both times: each keeps its own time and state."""
    user = make_user("ada")
    table.add(user, "came", 1, unread=False)
    table.add(user, "saw", 3)

    def write() -> None:
        with closing(connections["default"]) as connection, suppress(DatabaseError):
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("SET lock_timeout = 200")
                else:
                    cursor.execute("PRAGMA busy_timeout = 200")
            table.add(user, "won", 2)

    class Meanwhile(Rewriting):
        def make_room(self, *args: Any) -> Beginning:
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
            return super().make_room(*args)

    monkeypatch.setattr(importing, "Rewriting", Meanwhile)
    assert table.take().imported == 2
    assert titles(user) == [("saw", False), ("came", True)]
    times = Notification.objects.order_by("offset").values_list("published_at", flat=True)
    assert list(times) == [BEGINNING + timedelta(days=day) for day in (1, 3)]
