"""Read state: counts, folders, marks, receipts, and paging while notifications are published."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from notifications import broadcast, inbox, notify, signals
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.publishing.notify import withdraw
from notifications.streams import subscriptions
from tests.rooms import (
    LONG_AGO,
    fill,
    hints,
    make_old_users,
    make_user,
    plans,
    queries,
    reads_whole_table,
    rolled_back,
)

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture
def user() -> Any:
    return make_user(date_joined=LONG_AGO)


def titles(user: Any, folder: inbox.Folder = "all", **options: Any) -> list[str]:
    return [e.notification.title for e in inbox.list_entries(user, folder, **options).entries]


def all_pages(user: Any, folder: inbox.Folder = "all", limit: int = 3) -> list[str]:
    found: list[str] = []
    before = ""
    while True:
        page = inbox.list_entries(user, folder, before, limit)
        assert len(page.entries) <= limit
        found += [entry.notification.title for entry in page.entries]
        before = page.next
        if not before:
            return found


def marks(user: Any, name: str) -> tuple[int, int]:
    row = Subscription.objects.get(user=user, stream__name=name)
    return row.read, row.archived


# Counting


def test_visible_notifications_of_own_streams_count_as_unread(user: Any) -> None:
    other, group = make_user("other"), Group.objects.create(name="a")
    notify(user, "mine")
    notify(other, "other's")
    broadcast("for all")
    broadcast("for staff", to="staff")
    broadcast("for a group", to=group)
    gone = broadcast("gone", expires_at=timezone.now() + HOUR)
    Notification.objects.filter(pk=gone.pk).update(expires_at=timezone.now() - HOUR)
    withdraw(Notification.objects.filter(pk=broadcast("withdrawn").pk))
    broadcast("later", publish_at=timezone.now() + HOUR)
    assert inbox.unread_count(user) == 2
    assert titles(user, "unread") == ["for all", "mine"]


def test_counting_stops_at_the_maximum(user: Any, settings: Any) -> None:
    settings.NOTIFICATIONS = {"MAX_UNREAD_COUNT": 5}
    fill("broadcast", 4)
    assert inbox.unread_count(user) == 4
    fill(f"user:{user.pk}", 4)
    assert inbox.unread_count(user) == 5


def test_muted_streams_are_listed_but_do_not_count(user: Any) -> None:
    broadcast("loud")
    with hints() as sent:
        assert inbox.mute(user, "broadcast")
    assert {message["type"] for _, message in sent} == {
        "notifications.changed",
        "notifications.message",
    }
    assert inbox.unread_count(user) == 0
    assert titles(user) == ["loud"]
    assert inbox.mute(user, "broadcast", False)
    assert inbox.unread_count(user) == 0
    broadcast("again")
    assert inbox.unread_count(user) == 1
    assert not inbox.mute(user, "topic:unknown")


def test_a_user_who_has_never_connected_mutes(user: Any) -> None:
    (new,) = make_old_users(1)
    fill("broadcast", 1)
    assert inbox.mute(new, "broadcast")
    assert inbox.unread_count(new) == 0
    assert not inbox.mute(new, "staff")


def test_an_inactive_user_has_an_empty_inbox(user: Any) -> None:
    notify(user, "mine")
    user.is_active = False
    assert inbox.unread_count(user) == 0
    assert inbox.list_entries(user) == inbox.Entries([], "")


# Marks and receipts


def test_reading_moves_the_mark_only_without_a_gap(user: Any) -> None:
    ids = [broadcast(f"n{number}").pk for number in range(4)]
    assert inbox.mark_read(user, [ids[2]]) == [ids[2]]
    assert marks(user, "broadcast") == (0, 0)
    assert inbox.unread_count(user) == 3
    inbox.mark_read(user, ids[:2])
    assert marks(user, "broadcast") == (3, 0)
    assert inbox.unread_count(user) == 1
    assert titles(user, "unread") == ["n3"]


def test_reading_again_changes_and_announces_nothing(user: Any) -> None:
    ids = notify(user, "mine")
    inbox.mark_read(user, ids)
    with hints() as sent:
        assert inbox.mark_read(user, ids) == []
    assert sent == []


def test_marking_as_unread_below_the_mark_counts_again(user: Any) -> None:
    ids = [broadcast(f"n{number}").pk for number in range(3)]
    inbox.read_all(user)
    assert inbox.unread_count(user) == 0
    assert marks(user, "broadcast") == (3, 0)
    assert inbox.mark_unread(user, [ids[1]]) == [ids[1]]
    assert inbox.unread_count(user) == 1
    assert titles(user, "unread") == ["n1"]
    assert [entry.read for entry in inbox.list_entries(user).entries] == [True, False, True]
    inbox.read_all(user)
    assert inbox.unread_count(user) == 0


def test_reading_what_a_mark_has_archived_keeps_it_archived(user: Any) -> None:
    ids = [broadcast(f"n{number}").pk for number in range(3)]
    inbox.archive_all(user)
    assert marks(user, "broadcast") == (3, 3)
    assert inbox.mark_read(user, ids) == []
    assert titles(user) == []
    assert titles(user, "archived") == ["n2", "n1", "n0"]
    assert [(e.read, e.archived) for e in inbox.list_entries(user, "archived").entries] == [
        (True, True)
    ] * 3


def test_marking_as_unread_moves_out_of_the_archive(user: Any) -> None:
    ids = [broadcast(f"n{number}").pk for number in range(3)]
    inbox.archive_all(user)
    broadcast("n3")
    inbox.mark_unread(user, [ids[0]])
    assert titles(user) == ["n3", "n0"]
    assert titles(user, "archived") == ["n2", "n1"]
    assert titles(user, "unread") == ["n3", "n0"]
    inbox.mark_read(user, [ids[0]])
    assert titles(user) == ["n3", "n0"]
    inbox.archive(user, [ids[0]])
    assert titles(user, "archived") == ["n2", "n1", "n0"]


def test_archiving_marks_as_read_and_keeps_an_earlier_read_time(user: Any) -> None:
    ids = [*notify(user, "a"), *notify(user, "b")]
    inbox.mark_read(user, ids[:1])
    before = Receipt.objects.get(notification=ids[0]).read_at
    assert inbox.archive(user, ids) == sorted(ids)
    assert inbox.archive(user, ids) == []
    assert inbox.unread_count(user) == 0
    assert titles(user) == []
    receipts = {receipt.notification_id: receipt for receipt in Receipt.objects.all()}
    assert receipts[ids[0]].read_at == before
    assert receipts[ids[1]].read_at == receipts[ids[1]].archived_at


def test_archive_all_includes_notifications_with_receipts(user: Any) -> None:
    ids = [broadcast(f"n{number}").pk for number in range(3)]
    inbox.mark_read(user, ids[1:2])
    inbox.mark_unread(user, ids[1:2])
    inbox.archive_all(user)
    assert inbox.unread_count(user) == 0
    assert titles(user) == []
    assert titles(user, "archived") == ["n2", "n1", "n0"]


def test_read_state_is_separate_for_each_user(user: Any) -> None:
    other = make_user("other", date_joined=LONG_AGO)
    pk = broadcast("for all").pk
    inbox.mark_read(user, [pk])
    assert (inbox.unread_count(user), inbox.unread_count(other)) == (0, 1)
    inbox.archive(other, [pk])
    assert (titles(user), titles(other)) == (["for all"], [])


def test_ids_of_other_users_are_ignored(user: Any) -> None:
    other = make_user("other")
    foreign = [*notify(other, "private"), broadcast("staff", to="staff").pk]
    mine = notify(user, "mine")
    strange = [0, -1, 2**63, 2**70, 10**30, 10**6]
    for change in (inbox.mark_read, inbox.archive, inbox.mark_unread):
        assert change(user, [*foreign, *strange, *mine]) == mine
    assert not Receipt.objects.exclude(user=user, notification__in=mine).exists()


def test_notifications_from_before_joining_cannot_be_marked() -> None:
    pk = broadcast("old").pk
    user = make_user()
    assert inbox.mark_read(user, [pk]) == []
    assert titles(user) == []


def test_a_user_who_rejoins_a_group_does_not_see_notifications_marked_before(user: Any) -> None:
    group = Group.objects.create(name="a")
    user.groups.add(group)
    ids = [broadcast(f"n{n}", to=group).pk for n in range(3)]
    inbox.archive(user, ids[:1])
    inbox.mark_read(user, ids[1:])
    inbox.mark_unread(user, ids[1:2])
    user.groups.remove(group)
    assert (titles(user), titles(user, "archived"), inbox.unread_count(user)) == ([], [], 0)
    user.groups.add(group)
    assert (titles(user), titles(user, "archived"), inbox.unread_count(user)) == ([], [], 0)


@pytest.mark.parametrize("ids", [range(1001), ["1"], [1.5], [None]])
def test_invalid_ids_raise_value_error(user: Any, ids: Any) -> None:
    with pytest.raises(ValueError, match="ids"):
        inbox.mark_read(user, ids)


def test_marking_a_thousand_ids_takes_few_statements(user: Any) -> None:
    fill(f"user:{user.pk}", 1000)
    ids = list(Notification.objects.values_list("pk", flat=True))
    inbox.list_entries(user)
    assert len(queries(lambda: inbox.mark_read(user, ids))) <= 25
    assert inbox.unread_count(user) == 0


# Against a model


class Model:
    """A simple model of an inbox: each notification is unread, read or archived."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}

    def change(self, name: str, ids: list[int]) -> None:
        wanted = self.states if name.endswith("_all") else ids
        for pk in wanted:
            if name.startswith("archive"):
                self.states[pk] = "archived"
            elif name == "unread":
                self.states[pk] = "unread"
            elif self.states[pk] == "unread":
                self.states[pk] = "read"

    def folder(self, name: inbox.Folder) -> list[int]:
        """Primary keys, newest first."""
        shown = {"all": {"unread", "read"}, "unread": {"unread"}, "archived": {"archived"}}
        return [pk for pk in reversed(self.states) if self.states[pk] in shown[name]]


CHANGES: dict[str, Callable[..., Any]] = {
    "read": inbox.mark_read,
    "unread": inbox.mark_unread,
    "archive": inbox.archive,
    "read_all": lambda user, ids: inbox.read_all(user),
    "archive_all": lambda user, ids: inbox.archive_all(user),
}


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_changes_agrees_with_a_simple_model(user: Any, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    for _ in range(40):
        if chance.random() < 0.5:
            ids = notify(user, "x") if chance.random() < 0.5 else [broadcast("x").pk]
            model.states[ids[0]] = "unread"
        elif model.states:
            weights = (5, 5, 4, 1, 1)
            (name,) = chance.choices(list(CHANGES), weights)
            ids = chance.sample(list(model.states), min(3, len(model.states)))
            CHANGES[name](user, ids)
            model.change(name, ids)
        assert inbox.unread_count(user) == len(model.folder("unread"))
    for folder in inbox.FOLDERS:
        entries = inbox.list_entries(user, folder, limit=100).entries
        assert [entry.notification.pk for entry in entries] == model.folder(folder)
        for entry in entries:
            state = model.states[entry.notification.pk]
            assert (entry.read, entry.archived) == (state != "unread", state == "archived")


# Pages


def test_pages_of_all_streams_are_newest_first(user: Any) -> None:
    expected: list[str] = []
    for number in range(10):
        if number % 3:
            notify(user, f"n{number}")
        else:
            broadcast(f"n{number}")
        expected.insert(0, f"n{number}")
    assert titles(user, limit=100) == expected
    assert all_pages(user) == expected
    assert all_pages(user, limit=1) == expected
    assert all_pages(user, "unread") == expected
    inbox.archive_all(user)
    assert all_pages(user, "archived") == expected


def test_pages_neither_repeat_nor_skip_while_new_ones_arrive(user: Any) -> None:
    expected = [f"n{number}" for number in range(12)][::-1]
    for title in reversed(expected):
        notify(user, title)
    found, before = [], ""
    while True:
        page = inbox.list_entries(user, "all", before, 5)
        found += [entry.notification.title for entry in page.entries]
        broadcast("new")
        notify(user, "new")
        before = page.next
        if not before:
            break
    assert found == expected


def test_pages_are_complete_when_many_are_published_at_the_same_time(user: Any) -> None:
    with transaction.atomic():
        for number in range(9):
            notify(user, f"n{number}")
            broadcast(f"b{number}")
    found = all_pages(user, limit=2)
    assert len(found) == len(set(found)) == 18


def test_pages_with_marks_in_the_middle_are_complete(user: Any) -> None:
    ids = [broadcast(f"n{number}").pk for number in range(12)]
    inbox.archive_all(user)
    inbox.mark_unread(user, ids[::3])
    inbox.mark_read(user, ids[:4])
    for number in range(12, 16):
        ids.append(broadcast(f"n{number}").pk)
    inbox.archive(user, [ids[13]])
    everything = {f"n{number}" for number in range(16)}
    current, archived = all_pages(user, limit=2), all_pages(user, "archived", limit=2)
    assert current == ["n15", "n14", "n12", "n9", "n6", "n3", "n0"]
    assert set(archived) == everything - set(current)
    assert len(archived) == len(set(archived))
    assert all_pages(user, "unread", limit=2) == ["n15", "n14", "n12", "n9", "n6"]
    assert inbox.unread_count(user) == 5


@pytest.mark.parametrize(
    "before",
    [
        "x",
        "_",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00_1",
        "2026-01-01T00:00:00Z_x",
        "2026-01-01T00:00:00Z_-1",
        "2026-01-01T00:00:00Z_99999999999999999999",
        "0001-01-01T00:00:00+23:59_1",
        "9999-12-31T23:59:59-23:59_1",
        "\x00",
        "2026-01-01T00:00:00Z_" + "1" * 5000,
    ],
)
def test_an_invalid_cursor_raises_value_error(user: Any, before: str) -> None:
    notify(user, "mine")
    with pytest.raises(ValueError, match="before"):
        inbox.list_entries(user, "all", before)


def test_invalid_folders_and_limits_raise_value_error(user: Any) -> None:
    with pytest.raises(ValueError, match="folder"):
        inbox.list_entries(user, "trash")  # type: ignore[arg-type]
    for limit in (0, -1, 101):
        with pytest.raises(ValueError, match="limit"):
            inbox.list_entries(user, limit=limit)


def test_folders_are_counted_together(user: Any) -> None:
    fill("broadcast", 3)
    notify(user, "unread")
    inbox.mark_read(user, notify(user, "read"))
    archived = Notification.objects.get(offset=1, stream__name="broadcast").pk
    inbox.archive(user, [archived])
    assert inbox.count_folders(user) == (3, 4, 1)
    inbox.mute(user, "broadcast")
    assert inbox.count_folders(user) == (1, 4, 1)


def test_one_entry_is_found_in_every_folder(user: Any) -> None:
    for change in (None, inbox.mark_read, inbox.archive, inbox.mark_unread):
        pk = notify(user, "found")[0]
        if change is not None:
            change(user, [pk])
        found = inbox.find_entry(user, pk)
        folder: inbox.Folder = "archived" if change is inbox.archive else "all"
        assert found == inbox.list_entries(user, folder).entries[0]


def test_one_entry_is_found_by_its_own_user_only(user: Any) -> None:
    pk = notify(user, "mine")[0]
    assert inbox.find_entry(make_user("other"), pk) is None
    Notification.objects.filter(pk=pk).update(expires_at=LONG_AGO)
    assert inbox.find_entry(user, pk) is None


@pytest.mark.parametrize("pk", [-1, 0, 987_654, 2**63, 10**30])
def test_no_entry_is_found_by_an_id_that_is_none(user: Any, pk: int) -> None:
    assert inbox.find_entry(user, pk) is None


def test_one_entry_is_found_by_its_key(user: Any) -> None:
    fill("broadcast", 3000)
    pk = Notification.objects.get(offset=1500).pk
    Subscription.objects.filter(user=user.pk).update(since=0)
    plan = plans(lambda: inbox.find_entry(user, pk))
    assert not reads_whole_table(plan), plan


@pytest.mark.parametrize("folder", inbox.FOLDERS)
def test_the_cost_of_pages_does_not_depend_on_the_length_of_the_history(
    user: Any, folder: inbox.Folder
) -> None:
    fill("broadcast", 3000)
    fill(f"user:{user.pk}", 3000)
    inbox.archive_all(user)
    Stream.objects.update(top=3003)
    for name in ("broadcast", f"user:{user.pk}"):
        stream = Stream.objects.get(name=name)
        for offset in range(3001, 3004):
            Notification.objects.create(
                stream=stream,
                offset=offset,
                title="new",
                published_at=LONG_AGO + timedelta(seconds=offset),
            )
    page = inbox.list_entries(user, folder, limit=2)
    assert len(page.entries) == 2
    plan = plans(lambda: inbox.list_entries(user, folder, page.next, 2))
    assert "notification_offset" in plan or "stream_id=? AND offset>? AND offset<?" in plan
    assert not reads_whole_table(plan), plan
    assert "MULTI-INDEX OR" not in plan, "SQLite goes through whole streams"
    assert len(queries(lambda: inbox.list_entries(user, folder, page.next, 2))) <= 6


def test_counting_uses_the_index(user: Any) -> None:
    fill("broadcast", 3000)
    inbox.read_all(user)
    Stream.objects.update(top=3001)
    Notification.objects.create(
        stream=Stream.objects.get(name="broadcast"),
        offset=3001,
        title="new",
        published_at=timezone.now(),
    )
    assert inbox.unread_count(user) == 1
    plan = plans(lambda: inbox.unread_count(user))
    assert "notification_offset" in plan or "stream_id=? AND offset>?" in plan
    assert not reads_whole_table(plan), plan
    assert "MULTI-INDEX OR" not in plan, "SQLite goes through whole streams"
    ids = [Notification.objects.get(offset=3001).pk]
    plan = plans(lambda: inbox.mark_read(user, ids))
    assert not reads_whole_table(plan), plan
    assert "MULTI-INDEX OR" not in plan, "SQLite goes through whole streams"


# Announcing


def test_a_change_is_announced_after_the_commit_and_raises_the_revision(user: Any) -> None:
    ids = notify(user, "mine")
    own = f"user:{user.pk}"
    before = Stream.objects.get(name=own).revision
    with hints() as sent, transaction.atomic():
        inbox.mark_read(user, ids, origin="client-1")
        assert sent == []
    ((stream, message),) = sent
    assert stream == own
    assert message["type"] == "notifications.message"
    assert message["origin"] == "client-1"
    told = {"type": "read", "ids": ids, "unread": 0, "tops": {own: 1, "broadcast": 0}}
    assert msgspec.json.decode(message["data"]) == told
    assert (message["unread"], message["revision"]) == (0, before + 1)
    assert Stream.objects.get(name=own).revision == before + 1


def test_every_change_is_announced_with_its_type(user: Any) -> None:
    ids = notify(user, "mine")
    with hints() as sent:
        inbox.mark_read(user, ids)
        inbox.mark_unread(user, ids)
        inbox.archive(user, ids)
        inbox.read_all(user)
        inbox.archive_all(user)
    told = [msgspec.json.decode(message["data"])["type"] for _, message in sent]
    assert told == ["read", "unread", "archive", "read_all", "archive_all"]


def test_a_rolled_back_change_is_not_announced(user: Any) -> None:
    """P2, for connections and for receivers of the signal."""
    ids = notify(user, "mine")
    heard: list[Any] = []

    def hear(**kwargs: Any) -> None:
        heard.append((kwargs["user_id"], kwargs["ids"]))

    signals.read.connect(hear)
    try:
        with hints() as sent, rolled_back():
            inbox.mark_read(user, ids)
        assert (sent, heard) == ([], [])
        assert inbox.unread_count(user) == 1
        inbox.mark_read(user, ids)
    finally:
        signals.read.disconnect(hear)
    assert heard == [(user.pk, ids)]


def test_topics_are_part_of_the_inbox(user: Any) -> None:
    subscriptions.join([user.pk], "topic:garden")
    pk = broadcast("roses", to="topic:garden").pk
    assert titles(user, "unread") == ["roses"]
    assert inbox.mark_read(user, [pk]) == [pk]
    assert inbox.unread_count(user) == 0
