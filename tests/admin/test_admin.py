"""The admin: permissions, composing, lists, withdrawing, reach, connections, selected users."""

import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from notifications import broadcast, inbox, notify
from notifications.admin.connections import browser_name
from notifications.admin.lists import BoundedPaginator
from notifications.admin.reach import Reach, audience_size, reach
from notifications.admin.users import SendNotificationMixin, add_action_to_user_admins
from notifications.models import (
    Broadcast,
    Connection,
    Notification,
    Receipt,
    Stream,
    Subscription,
    Worker,
)
from notifications.publishing import drafts
from notifications.publishing.notify import withdraw
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import feeds as stream_feeds
from notifications.streams import subscriptions
from tests import rooms
from tests.admin.conftest import Staff
from tests.rooms import LONG_AGO, fill, hints, make_old_users, make_user, queries, write
from tests.sites import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

EVIL = "<script>alert(1)</script>"
KEY = uuid.uuid4().hex


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss", first_name=EVIL))
    return client


def address(model: str, page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:notifications_{model}_{page}", args=args)


ADD = "/admin/notifications/broadcast/add/"
USERS = "/admin/auth/user/"


def fields(**changes: Any) -> dict[str, Any]:
    """The fields that a browser posts from the compose page."""
    posted = {
        "title": "Maintenance",
        "body": "Tonight",
        "url": "/status/",
        "level": "warning",
        "audience": "broadcast",
        "group": "",
        "topic": "",
        "when": "now",
        "publish_at": "",
        "expires_at": "",
        "key": KEY,
        "step": "preview",
    }
    return {**posted, **changes}


def page_of(client: Client, url: str, data: dict[str, Any] | None = None) -> str:
    response = client.get(url) if data is None else client.post(url, data)
    assert response.status_code == 200, response
    return response.content.decode()


def hidden_fields(page: str) -> dict[str, Any]:
    """The hidden fields that a browser posts from the preview page."""
    form = page[page.rindex("<form") :]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", form):
        name = re.search(r'name="([^"]*)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        assert name is not None
        found.setdefault(name[1], []).append(value[1] if value else "")
    return found


def errors_of(client: Client, url: str, data: dict[str, Any]) -> dict[str, list[str]]:
    response = client.post(url, data)
    assert response.status_code == 200
    assert not Notification.objects.exists()
    errors: dict[str, list[str]] = response.context["form"].errors
    return errors


# Permissions


@pytest.mark.parametrize("model", ["broadcast", "notification", "connection"])
def test_lists_require_the_view_permission(staff: Staff, model: str) -> None:
    assert staff().get(address(model)).status_code == 403
    assert staff(f"view_{model}").get(address(model)).status_code == 200


def test_every_page_requires_a_login() -> None:
    row = broadcast("Hello")
    for url in (
        ADD,
        address("broadcast"),
        address("notification"),
        address("connection"),
        address("broadcast", "change", row.pk),
        address("broadcast", "withdraw", row.pk),
    ):
        response = Client().get(url)
        assert response.status_code == 302
        assert "/login/" in response["Location"]


def test_composing_requires_send_broadcast_at_every_step(staff: Staff) -> None:
    viewer = staff("view_broadcast", "view_notification", "send_private")
    assert viewer.get(ADD).status_code == 403
    for step in ("preview", "send", "edit"):
        assert viewer.post(ADD, fields(step=step)).status_code == 403
    assert not Notification.objects.exists()
    assert "Compose broadcast" not in page_of(viewer, address("broadcast"))

    sender = staff("send_broadcast")
    assert sender.get(ADD).status_code == 200
    assert "Compose broadcast" in page_of(sender, address("broadcast"))
    assert sender.post(ADD, fields(step="send")).status_code == 302
    assert Notification.objects.count() == 1


def test_withdrawing_requires_send_broadcast(staff: Staff) -> None:
    row = broadcast("Hello")
    url = address("broadcast", "withdraw", row.pk)
    viewer, sender = staff("view_broadcast"), staff("send_broadcast")
    assert viewer.get(url).status_code == 403
    assert viewer.post(url).status_code == 403
    assert url not in page_of(viewer, address("broadcast", "change", row.pk))
    chosen = {"action": "withdraw_selected", "confirmed": "1", "_selected_action": [row.pk]}
    viewer.post(address("broadcast"), chosen)
    row.refresh_from_db()
    assert row.withdrawn_at is None
    assert "withdraw_selected" not in page_of(viewer, address("broadcast"))

    assert url in page_of(sender, address("broadcast", "change", row.pk))
    assert sender.post(url).status_code == 302
    row.refresh_from_db()
    assert row.withdrawn_at is not None


@pytest.mark.parametrize("model", ["broadcast", "notification"])
def test_sent_notifications_cannot_be_changed_or_deleted(boss: Client, model: str) -> None:
    row = broadcast("Hello")
    change = address(model, "change", row.pk)
    assert 'name="title"' not in page_of(boss, change)
    assert boss.post(change, {"title": "Changed"}).status_code == 403
    assert boss.get(address(model, "delete", row.pk)).status_code == 403
    assert boss.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page_of(boss, address(model))
    row.refresh_from_db()
    assert row.title == "Hello"


def test_notifications_and_connections_cannot_be_added(boss: Client) -> None:
    assert boss.get(address("notification", "add")).status_code == 403
    assert boss.get(address("connection", "add")).status_code == 403


def test_private_messages_are_not_listed_as_broadcasts(boss: Client) -> None:
    user = make_user()
    (pk,) = notify(user, "Private matter")
    assert "Private matter" not in page_of(boss, address("broadcast"))
    assert boss.get(address("broadcast", "change", pk)).status_code == 302
    assert boss.post(address("broadcast", "withdraw", pk)).status_code == 404
    assert Notification.objects.get().withdrawn_at is None


# Composing


def test_preview_shows_the_notification_and_writes_nothing(boss: Client) -> None:
    make_user("reader")
    make_user("gone", is_active=False)
    shown: list[str] = []
    made = queries(lambda: shown.append(page_of(boss, ADD, fields())))
    assert [sql for sql in made if not sql.startswith("SELECT")] == []
    (page,) = shown
    for text in ("Everyone", "2 users now", "Maintenance", "Tonight", "Warning", 'href="/status/"'):
        assert text in page
    assert not Notification.objects.exists()
    assert not LogEntry.objects.exists()


def test_preview_counts_each_audience(boss: Client) -> None:
    group = Group.objects.create(name="Editors")
    reader = make_user("reader")
    reader.groups.add(group)
    subscriptions.join([reader.pk], "topic:news")
    for changes, name, count in (
        ({"audience": "broadcast"}, "Everyone", "2 users now"),
        ({"audience": "staff"}, "Staff", "1 user now"),
        ({"audience": "group", "group": group.pk}, "Group Editors", "1 user now"),
        ({"audience": "topic", "topic": "news"}, "Topic news", "1 user now"),
        ({"audience": "topic", "topic": "other"}, "Topic other", "0 users now"),
    ):
        page = page_of(boss, ADD, fields(**changes))
        assert name in page
        assert count in page


def test_the_form_of_the_preview_sends_the_broadcast(boss: Client) -> None:
    group = Group.objects.create(name="Editors")
    page = page_of(boss, ADD, fields(audience="group", group=group.pk, title='Quote " & <b>'))
    posted = {name: values[0] for name, values in hidden_fields(page).items()}
    posted["title"] = 'Quote " & <b>'
    assert escape(posted["title"]) in page
    with hints() as sent:
        response = boss.post(ADD, {**posted, "step": "send"}, follow=True)
    row = Notification.objects.select_related("actor", "stream").get()
    assert (row.title, row.body, row.url, row.level, row.kind) == (
        'Quote " & <b>',
        "Tonight",
        "/status/",
        "warning",
        "broadcast",
    )
    assert row.stream_name == f"group:{group.pk}"
    assert row.actor is not None
    assert row.actor.username == "boss"
    assert row.offset == 1
    assert [name for name, _ in sent] == [f"group:{group.pk}"]
    assert escape("was sent to Group Editors.") in response.content.decode()
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.is_addition()) == (str(row.pk), True)


def test_edit_keeps_the_input(boss: Client) -> None:
    page = page_of(boss, ADD, fields(step="edit", title="Kept", audience="staff"))
    assert 'value="Kept"' in page
    assert re.search(r'value="staff"[^>]*checked', page)
    assert not Notification.objects.exists()


def test_a_double_click_sends_once(boss: Client) -> None:
    for _ in range(2):
        assert boss.post(ADD, fields(step="send")).status_code == 302
    assert Notification.objects.count() == 1


@override_settings(TIME_ZONE="Asia/Tokyo")
def test_a_broadcast_is_scheduled_in_the_current_time_zone_and_withdrawn_while_waiting(
    boss: Client,
) -> None:
    later = fields(when="later", publish_at="2999-12-31T18:00", expires_at="2999-12-31T20:00")
    assert "Asia/Tokyo" in page_of(boss, ADD, later)
    boss.post(ADD, {**later, "step": "send"})
    row = Notification.objects.get()
    assert row.publish_at == datetime(2999, 12, 31, 9, tzinfo=UTC)
    assert row.expires_at == datetime(2999, 12, 31, 11, tzinfo=UTC)
    assert row.offset is None
    page = page_of(boss, address("broadcast"))
    assert "Waiting" in page
    assert "until Dec. 31, 2999, 6 p.m." in page

    url = address("broadcast", "withdraw", row.pk)
    assert "Maintenance" in page_of(boss, url)
    row.refresh_from_db()
    assert row.withdrawn_at is None
    boss.post(url)
    assert not Notification.objects.waiting().exists()
    assert "Withdrawn" in page_of(boss, address("broadcast"))
    assert "nothing to withdraw" in page_of(boss, url)
    assert LogEntry.objects.filter(change_message="Withdrawn").count() == 1


def test_a_time_is_ignored_if_the_broadcast_is_sent_now(boss: Client) -> None:
    boss.post(ADD, fields(step="send", when="now", publish_at="2999-12-31T18:00"))
    assert Notification.objects.get().offset == 1


def test_a_time_that_passes_during_the_preview_sends_now(boss: Client) -> None:
    past = (timezone.now() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M")
    later = fields(when="later", publish_at=past)
    assert "publish_at" in errors_of(boss, ADD, later)
    boss.post(ADD, {**later, "step": "send"})
    assert Notification.objects.get().offset == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"body": "x" * 10_001}, "body"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"level": "loud"}, "level"),
        ({"audience": "user:1"}, "audience"),
        ({"audience": "group"}, "group"),
        ({"audience": "group", "group": "77"}, "group"),
        ({"audience": "topic"}, "topic"),
        ({"audience": "topic", "topic": "no slug"}, "topic"),
        ({"when": "later"}, "publish_at"),
        ({"when": "later", "publish_at": "soon"}, "publish_at"),
        ({"expires_at": "2020-01-01T10:00"}, "expires_at"),
        (
            {"when": "later", "publish_at": "2999-01-02T00:00", "expires_at": "2999-01-01T00:00"},
            "expires_at",
        ),
        ({"when": "never"}, "when"),
        ({"key": "mine"}, "key"),
    ],
)
@pytest.mark.parametrize("step", ["preview", "send"])
def test_errors_are_shown_at_their_fields(
    boss: Client, changes: dict[str, str], field: str, step: str
) -> None:
    assert list(errors_of(boss, ADD, fields(**changes, step=step))) == [field]


def test_errors_of_publishing_are_shown_at_their_fields(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_short(value: str) -> None:
        raise ValidationError("Too long for us.")

    monkeypatch.setattr(drafts, "check_body_length", only_short)
    errors = errors_of(boss, ADD, fields(step="send"))
    assert errors == {"body": ["Too long for us."]}
    assert not LogEntry.objects.exists()


# Lists


def test_lists_show_and_filter_states(boss: Client) -> None:
    broadcast("P")
    Notification.objects.filter(pk=broadcast("E").pk).update(expires_at=LONG_AGO)
    withdraw(Notification.objects.filter(pk=broadcast("W").pk))
    broadcast("L", publish_at=timezone.now() + timedelta(days=1))
    for state, title in (
        ("published", "P"),
        ("expired", "E"),
        ("withdrawn", "W"),
        ("waiting", "L"),
    ):
        for model in ("broadcast", "notification"):
            response = boss.get(address(model), {"state": state})
            assert [row.title for row in response.context["cl"].result_list] == [title]
            assert f'data-mark="{state}"' in response.content.decode()
    assert "state" in boss.get(address("broadcast"), {"state": "bogus"}).context["request"].GET


def test_unplaced_notifications_are_listed_and_withdrawn_like_others(boss: Client) -> None:
    """As after a process that has died between the commit and placing, which makes the stream."""
    reader = make_user("reader")
    tomorrow = timezone.now() + timedelta(days=1)
    rows = Notification.objects
    waiting = rows.create(channel="topic:new", title="Unplaced", publish_at=tomorrow)
    rows.create(channel=f"user:{reader.pk}", title="Private")
    kept = rows.create(channel="topic:new", title="Kept", key="k")
    dropped = rows.create(channel="topic:new", title="Dropped", key="k", duplicate_of=kept)
    page = page_of(boss, address("broadcast"))
    assert "Unplaced" in page
    assert "Topic new" in page
    assert "Private" not in page
    assert dropped.title not in page
    page = page_of(boss, address("notification"))
    assert "Private" in page
    assert dropped.title not in page
    assert "Unplaced" in page_of(boss, address("notification") + "?q=topic:new")
    assert "Private" in page_of(boss, address("notification") + "?q=reader")
    for model in ("broadcast", "notification"):
        assert "Topic new" in page_of(boss, address(model, "change", waiting.pk))
    boss.post(address("broadcast", "withdraw", waiting.pk))
    waiting.refresh_from_db()
    assert waiting.withdrawn_at is not None
    assert sequence_waiting(tomorrow) == 2


def test_withdraw_selected_asks_for_confirmation(boss: Client) -> None:
    rows = [broadcast(f"Number {number}") for number in range(3)]
    withdraw(Notification.objects.filter(pk=rows[2].pk))
    chosen = {"action": "withdraw_selected", "_selected_action": [row.pk for row in rows]}
    page = page_of(boss, address("broadcast"), {**chosen, "index": "0"})
    assert "These 2 broadcasts" in page
    assert "Number 2" not in page[page.index("These 2 broadcasts") :]
    assert Notification.objects.filter(withdrawn_at=None).count() == 2
    response = boss.post(address("broadcast"), hidden_fields(page), follow=True)
    assert "2 broadcasts were withdrawn." in response.content.decode()
    assert not Notification.objects.filter(withdrawn_at=None).exists()
    assert LogEntry.objects.count() == 2


def test_withdraw_applies_to_all_pages_of_the_list(boss: Client) -> None:
    fill("broadcast", 60)
    (kept,) = notify(make_user(), "private")
    first = Notification.objects.filter(stream__name="broadcast").latest("pk")
    chosen = {
        "action": "withdraw_selected",
        "index": "0",
        "select_across": "1",
        "_selected_action": [first.pk],
    }
    page = page_of(boss, address("broadcast"), chosen)
    assert "These 60 broadcasts" in page
    assert "and 40 more" in page
    boss.post(address("broadcast"), hidden_fields(page))
    assert [row.pk for row in Notification.objects.filter(withdrawn_at=None)] == [kept]


def test_the_number_of_queries_does_not_depend_on_the_number_of_broadcasts(boss: Client) -> None:
    group = Group.objects.create(name="Editors")
    readers = [make_user(f"reader{number}") for number in range(3)]

    def made() -> int:
        found = queries(lambda: page_of(boss, address("broadcast")))
        tables = ('FROM "notifications_receipt"', 'FROM "notifications_subscription"')
        assert sum(any(table in sql for table in tables) for sql in found) == 2
        return len(found)

    broadcast("To all")
    broadcast("To a group", to=group)
    few = made()
    for number in range(30):
        row = broadcast(f"Number {number}", to=group if number % 2 else "everyone")
        inbox.mark_read(readers[number % 3], [row.pk])
    assert made() == few


def test_the_number_of_queries_does_not_depend_on_the_number_of_notifications(boss: Client) -> None:
    notify(make_user("first"), "Hello")
    few = len(queries(lambda: page_of(boss, address("notification"))))
    notify(make_old_users(30), "Hello")
    assert len(queries(lambda: page_of(boss, address("notification")))) == few


def test_search_finds_title_stream_recipient_and_actor(boss: Client) -> None:
    reader, writer = make_user("reader"), make_user("writer")
    notify(reader, "Alpha")
    notify(writer, "Beta", actor=reader)
    notify(writer, "Gamma")

    def found(word: str) -> set[str]:
        response = boss.get(address("notification"), {"q": word})
        return {row.title for row in response.context["cl"].result_list}

    assert found("alph") == {"Alpha"}
    assert found("reader") == {"Alpha", "Beta"}
    assert found(f"user:{writer.pk}") == {"Beta", "Gamma"}
    assert found("nothing") == set()


def test_notifications_are_filtered_by_kind_and_level(boss: Client) -> None:
    broadcast("Alpha", kind="a.b", level="error")
    broadcast("Beta", kind="c")
    for query, titles in (
        ({"kind": "a.b"}, ["Alpha"]),
        ({"kind": "c"}, ["Beta"]),
        ({"level__exact": "error"}, ["Alpha"]),
    ):
        response = boss.get(address("notification"), query)
        assert [row.title for row in response.context["cl"].result_list] == titles


def test_a_list_counts_up_to_its_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.admin.lists.MAX_ROWS", 3)
    fill("broadcast", 5)
    pages = BoundedPaginator(Notification.objects.order_by("pk"), 2)
    assert (pages.count, pages.num_pages) == (3, 2)


def test_streams_of_deleted_users_and_groups_are_listed(boss: Client) -> None:
    for name in ("user:77", "user:no-number", "group:88", "topic:x"):
        write(name, title="Orphan")
    page = page_of(boss, address("notification"))
    for text in ("user 77", "user no-number", "Group 88", "Topic x"):
        assert text in page


# Escaping


def test_texts_are_escaped_on_every_page(boss: Client) -> None:
    group = Group.objects.create(name=EVIL)
    evil = make_user("evil", first_name=EVIL)
    User.objects.filter(pk=evil.pk).update(username=EVIL)
    row = broadcast(EVIL, to=group, body=EVIL, data={"x": EVIL}, actor=evil)
    (private,) = notify(evil, EVIL, body=EVIL)
    worker = Worker.objects.create(host=EVIL, pid=1)
    socket = Connection.objects.create(
        id=uuid.uuid4(), user=evil, worker=worker, address=EVIL, user_agent=EVIL
    )
    chosen = {"action": "send_notification", "_selected_action": [evil.pk]}
    typed = fields(title=EVIL, body=EVIL, audience="group", group=group.pk)
    pages = [
        page_of(boss, address("broadcast")),
        page_of(boss, address("broadcast", "change", row.pk)),
        page_of(boss, address("broadcast", "withdraw", row.pk)),
        page_of(boss, address("notification")),
        page_of(boss, address("notification", "change", private)),
        page_of(boss, address("connection")),
        page_of(boss, address("connection", "change", socket.pk)),
        page_of(boss, ADD, {**typed, "step": "edit"}),
        page_of(boss, ADD, typed),
        boss.post(ADD, {**typed, "step": "send"}, follow=True).content.decode(),
        page_of(boss, USERS, {**chosen, **typed}),
    ]
    for page in pages:
        assert EVIL not in page
        assert escape(EVIL) in page


def test_an_unsafe_url_in_the_table_is_no_link(boss: Client) -> None:
    row = write("broadcast", url="javascript:alert(1)")
    for model in ("broadcast", "notification"):
        assert 'href="javascript' not in page_of(boss, address(model, "change", row.pk))


# Reached and read


def test_reach_counts_acknowledgements_marks_and_receipts() -> None:
    users = [make_user(f"user{number}") for number in range(4)]
    rows = [broadcast(f"Number {number}") for number in range(3)]
    waiting = broadcast("Later", publish_at=timezone.now() + timedelta(days=1))
    late = make_user("late")
    stream_feeds.load_inboxes([*users, late])
    stream = Stream.objects.get(name="broadcast")

    def acknowledge(user: User, offset: int) -> None:
        rooms.acknowledge({(user.pk, stream.pk): offset})

    acknowledge(users[0], 3)
    acknowledge(users[1], 2)
    acknowledge(users[2], 1)
    inbox.read_all(users[0])  # moves the mark
    inbox.mark_read(users[1], [rows[1].pk])  # makes a receipt
    inbox.mark_unread(users[0], [rows[2].pk])  # makes a receipt that contradicts the mark
    inbox.archive(users[3], [rows[0].pk])

    assert reach([*rows, waiting]) == {
        rows[0].pk: Reach(3, 2),
        rows[1].pk: Reach(2, 2),
        rows[2].pk: Reach(1, 0),
        waiting.pk: Reach(0, 0),
    }
    # For a single notification the marks are cut to another range, with the same counts.
    assert reach([rows[1]]) == {rows[1].pk: Reach(2, 2)}
    assert reach([]) == {}


def test_a_receipt_and_a_mark_of_the_same_user_count_once() -> None:
    user = make_user()
    row = broadcast("Hello")
    inbox.mark_read(user, [row.pk])
    subscription = Subscription.objects.get(user=user, stream=row.stream)
    assert subscription.read == 1
    assert Receipt.objects.count() == 1
    assert reach([row])[row.pk].read == 1


def test_users_who_joined_later_or_left_do_not_count() -> None:
    group = Group.objects.create(name="Editors")
    left, stays = make_user("left"), make_user("stays")
    left.groups.add(group)
    stays.groups.add(group)
    row = broadcast("Hello", to=group)
    rooms.acknowledge({(user.pk, row.stream_id or 0): 1 for user in (left, stays)})
    left.groups.clear()
    make_user("later").groups.add(group)
    assert reach([row])[row.pk] == Reach(1, 0)


def test_reach_of_several_streams() -> None:
    make_user("reader")
    chief = make_user("chief", is_staff=True)
    rows = [broadcast("1"), broadcast("2", to="staff"), broadcast("3"), broadcast("4", to="staff")]
    rooms.acknowledge(
        {(chief.pk, rows[1].stream_id or 0): 1, (chief.pk, rows[0].stream_id or 0): 2}
    )
    inbox.read_all(chief)
    assert [reach(rows)[row.pk] for row in rows] == [
        Reach(1, 1),
        Reach(1, 1),
        Reach(1, 1),
        Reach(0, 1),
    ]


def test_the_list_shows_reached_and_read(boss: Client) -> None:
    user = make_user()
    row = broadcast("Hello")
    rooms.acknowledge({(user.pk, row.stream_id or 0): 1})
    page = page_of(boss, address("broadcast"))
    assert re.search(r'field-reached">1<.*field-read">0<', page)
    assert Broadcast.objects.get().pk == row.pk


def test_audience_size_counts_active_users() -> None:
    reader = make_user("reader")
    make_user("gone", is_active=False, is_staff=True)
    make_user("chief", is_staff=True)
    assert [audience_size(name) for name in ("broadcast", "staff", f"user:{reader.pk}")] == [
        2,
        1,
        1,
    ]


# Connections


@pytest.fixture
def socket() -> Connection:
    worker = Worker.objects.create(host="web1", pid=42)
    return Connection.objects.create(
        id=uuid.uuid4(),
        user=make_user("reader"),
        worker=worker,
        address="192.0.2.7",
        user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
        connected_at=timezone.now() - timedelta(hours=2),
    )


def test_connections_show_user_address_browser_and_duration(
    boss: Client, socket: Connection
) -> None:
    page = page_of(boss, address("connection"))
    for text in ("reader", "192.0.2.7", "Firefox 130 on Linux", "2\xa0hours", "web1:42"):
        assert text in page


def test_connections_of_dead_workers_are_not_shown(boss: Client, socket: Connection) -> None:
    Worker.objects.update(seen_at=timezone.now() - timedelta(seconds=31))
    assert "192.0.2.7" not in page_of(boss, address("connection"))
    with override_settings(NOTIFICATIONS={"WORKER_TIMEOUT": 40}):
        assert "192.0.2.7" in page_of(boss, address("connection"))


def test_disconnect_requires_its_permission(staff: Staff, socket: Connection) -> None:
    chosen = {"action": "disconnect", "index": "0", "_selected_action": [socket.pk]}
    viewer = staff("view_connection")
    viewer.post(address("connection"), chosen)
    socket.refresh_from_db()
    assert not socket.closing
    assert "disconnect" not in page_of(viewer, address("connection"))
    assert staff("delete_connection").post(address("connection"), chosen).status_code == 403

    both = staff("view_connection", "delete_connection")
    assert "delete_selected" not in page_of(both, address("connection"))
    both.post(address("connection"), chosen)
    socket.refresh_from_db()
    assert socket.closing


def test_disconnect_marks_the_connection_and_notifies_the_workers(
    boss: Client, socket: Connection
) -> None:
    user = socket.user
    other = Connection.objects.create(id=uuid.uuid4(), user=user, worker=socket.worker)
    stream_feeds.load_inboxes([user])
    own = Stream.objects.get(name=f"user:{user.pk}")
    with hints() as sent:
        response = boss.post(
            address("connection"),
            {"action": "disconnect", "index": "0", "_selected_action": [socket.pk]},
            follow=True,
        )
    page = response.content.decode()
    assert "1 connection is being closed." in page
    assert "Closing …" in page
    before = own.revision
    own.refresh_from_db()
    assert own.revision > before
    assert [(name, message["type"]) for name, message in sent] == [
        (own.name, "notifications.changed")
    ]
    other.refresh_from_db()
    assert not other.closing


def test_disconnect_applies_to_all_results_of_a_search(boss: Client, socket: Connection) -> None:
    spared = Connection.objects.create(
        id=uuid.uuid4(), user=make_user("other"), worker=socket.worker, address="198.51.100.1"
    )
    boss.post(
        address("connection") + "?q=192.0",
        {
            "action": "disconnect",
            "index": "0",
            "select_across": "1",
            "_selected_action": [socket.pk],
        },
    )
    closing = Connection.objects.filter(closing=True)
    assert [row.pk for row in closing] == [socket.pk]
    assert spared.pk != socket.pk


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537 Chrome/120.0 Safari/537",
            "Chrome 120 on Windows",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537 Edg/121.0", "Edge 121 on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile Safari/604",
            "Safari 17 on iOS",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/16.1 Safari/605",
            "Safari 16 on macOS",
        ),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/119.0 Mobile Safari/537", "Chrome 119 on Android"),
        ("python-websockets/15", "python-websockets/15"),
        ("", ""),
        (
            "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/130.0.0.0 Safari/537.36",
            "Chrome 130 on Linux",
        ),
    ],
)
def test_browser_name(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name


# Notification to selected users


def choose(*users: User, **changes: Any) -> dict[str, Any]:
    chosen = {"action": "send_notification", "_selected_action": [user.pk for user in users]}
    return {**fields(), **chosen, **changes}


def test_only_the_list_of_users_has_the_action(boss: Client, staff: Staff) -> None:
    broadcast("Hello")
    Group.objects.create(name="Editors")
    assert "send_notification" in page_of(boss, USERS)
    for url in ("/admin/auth/group/", address("broadcast"), address("notification")):
        assert "send_notification" not in page_of(boss, url)
    assert "send_notification" not in page_of(staff("view_user"), USERS)
    assert "send_notification" in page_of(staff("view_user", "send_private"), USERS)


def test_sending_to_users_requires_send_private(staff: Staff) -> None:
    reader = make_user("reader")
    staff("view_user", "send_broadcast").post(USERS, choose(reader, step="send"))
    assert not Notification.objects.exists()
    staff("view_user", "send_private").post(USERS, choose(reader, step="send"))
    assert Notification.objects.get().stream_name == f"user:{reader.pk}"


def test_sending_to_users_shows_form_and_preview(boss: Client) -> None:
    first, second, third = (make_user(name) for name in ("first", "second", "third"))
    chosen = {"action": "send_notification", "index": "0", "_selected_action": [first.pk, third.pk]}
    page = page_of(boss, USERS, chosen)
    assert 'name="title"' in page
    assert 'name="audience"' not in page
    page = page_of(boss, USERS, {**fields(title="Hello"), **hidden_fields(page), "key": KEY})
    assert "first, third" in page
    assert "2 users now" in page
    assert not Notification.objects.exists()
    with hints() as sent:
        response = boss.post(USERS, {**hidden_fields(page), "step": "send"}, follow=True)
    assert "Notifications were sent to 2 users." in response.content.decode()
    rows = Notification.objects.select_related("stream", "actor")
    assert {row.stream_name for row in rows} == {f"user:{first.pk}", f"user:{third.pk}"}
    assert {(row.title, row.kind, row.level, row.actor and row.actor.username) for row in rows} == {
        ("Hello", "message", "warning", "boss")
    }
    assert len(sent) == 2
    assert second.pk not in {first.pk, third.pk}


def test_sending_to_users_on_all_pages_keeps_the_search(boss: Client) -> None:
    make_old_users(130)
    make_user("spared")
    url = f"{USERS}?q=user"
    one = User.objects.get(username="user1")
    page = page_of(boss, url, choose(one, select_across="1"))
    assert "130 users now" in page
    boss.post(url, {**hidden_fields(page), "step": "send"})
    assert Notification.objects.count() == 130


def test_a_scheduled_notification_to_users_is_sent_once(boss: Client) -> None:
    reader = make_user("reader")
    later = choose(reader, step="send", when="later", publish_at="2999-12-31T18:00")
    for _ in range(2):
        page = boss.post(USERS, later, follow=True).content.decode()
        assert "A notification to 1 user waits until Dec. 31, 2999, 6 p.m." in page
    assert Notification.objects.get().offset is None


def test_errors_of_sending_to_users_are_shown_at_their_fields(boss: Client) -> None:
    reader = make_user("reader")
    assert list(errors_of(boss, USERS, choose(reader, title=""))) == ["title"]


class GreetingAdmin(UserAdmin):
    actions: Any = ("greet",)

    @admin.action
    def greet(self, request: Any, queryset: Any) -> None:
        """An action of the host project."""


class OwnAdmin(SendNotificationMixin, GreetingAdmin):
    """A ``ModelAdmin`` of a host project that registers it after startup."""


class QuietAdmin(UserAdmin):
    actions = None


@pytest.mark.parametrize(
    ("host_admin", "names"),
    [
        (GreetingAdmin, {"delete_selected", "greet", "send_notification"}),
        (OwnAdmin, {"delete_selected", "greet", "send_notification"}),
        (admin.ModelAdmin, {"delete_selected", "send_notification"}),
        (QuietAdmin, set()),
    ],
)
def test_the_host_s_own_admin_of_users_has_the_action_once(
    host_admin: Any, names: set[str], rf: RequestFactory
) -> None:
    site = admin.AdminSite()
    site.register(User, host_admin)
    site.register(Group)
    for _ in range(2):
        add_action_to_user_admins(site)
    request = rf.get(USERS)
    request.user = User.objects.create_superuser("boss")
    users = site.get_model_admin(User)
    assert isinstance(users, host_admin)
    assert set(users.get_actions(request)) == names
    assert users.check() == []
    request.user = make_user("clerk", is_staff=True)
    assert "send_notification" not in users.get_actions(request)
    assert "send_notification" not in site.get_model_admin(Group).get_actions(request)


def test_classes_of_django_are_not_modified() -> None:
    assert not hasattr(admin.ModelAdmin, "has_send_notification_permission")
    assert not hasattr(UserAdmin, "has_send_notification_permission")
    assert "send_notification" not in {name for name, _ in admin.site.actions}


HOST = """
import django
from django.conf import settings

settings.configure(INSTALLED_APPS={apps!r}, SECRET_KEY="x")
django.setup()
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User

print(
    apps.is_installed("django.contrib.admin")
    and hasattr(admin.site.get_model_admin(User), "has_send_notification_permission")
)
"""
AUTH = ("django.contrib.contenttypes", "django.contrib.auth")


@pytest.mark.parametrize(
    ("apps", "has_action"),
    [
        (("notifications", "django.contrib.admin", *AUTH), True),
        (("django.contrib.admin", *AUTH, "notifications"), True),
        ((*AUTH, "notifications"), False),
    ],
)
def test_the_action_works_in_any_order_of_apps_and_without_the_admin(
    apps: tuple[str, ...], has_action: bool
) -> None:
    code = HOST.format(apps=apps)
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout == f"{has_action}\n", result.stderr
