"""What the operations of the REST API do: the same as the procedures of the socket."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import Group
from django.db import InterfaceError, OperationalError, connection

from notifications import broadcast, inbox, notify
from notifications.models import Notification
from tests.api.callers import App, places, problem
from tests.rooms import hints, make_user, write

pytestmark = pytest.mark.django_db(transaction=True)


def titles(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [each["title"] for each in response.json()["notifications"]]


# Reading


def test_a_notification_is_the_one_of_the_socket(user: Any, app: App) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    options: Any = {"url": "/o/7/", "data": {"order": 7}, "level": "success"}
    notify(user, "Shipped", body="At last", actor=user, expires_at=expires, **options)
    (given,) = app.get("/notifications").json()["notifications"]
    (entry,) = inbox.list_entries(user).entries
    on_socket = msgspec.json.decode(msgspec.json.encode(inbox.describe_entry(entry)))
    assert given.keys() == on_socket.keys()
    for name in ("created", "expires", "published"):
        known, other = (datetime.fromisoformat(each.pop(name)) for each in (given, on_socket))
        assert abs(known - other) < timedelta(milliseconds=1)
    assert given == on_socket
    assert given["actor"] == {"id": str(user.pk), "name": "Ada"}


def test_what_is_empty_is_left_out(user: Any, app: App) -> None:
    pk = notify(user, "Short")[0]
    assert app.get(f"/notifications/{pk}").json().keys() == {
        *("id", "kind", "level", "title", "created"),
        *("channel", "offset", "published", "read", "archived"),
    }


def test_a_folder_is_read_page_by_page(user: Any, app: App) -> None:
    for number in range(5):
        notify(user, f"number {number}")
    found, cursor = [], ""
    while cursor is not None:
        page = app.get("/notifications", limit=2, cursor=cursor)
        assert len(titles(page)) <= 2
        found += titles(page)
        cursor = page.json()["next"]
    assert found == [f"number {number}" for number in (4, 3, 2, 1, 0)]


def test_folders_hold_what_the_inbox_says(user: Any, app: App) -> None:
    inbox.mark_read(user, notify(user, "read"))
    inbox.archive(user, notify(user, "archived"))
    notify(user, "new")
    assert titles(app.get("/notifications")) == ["new", "read"]
    assert titles(app.get("/notifications", folder="unread")) == ["new"]
    assert titles(app.get("/notifications", folder="archived")) == ["archived"]
    counts = {"unread": 1, "all": 2, "archived": 1, "most": 1000}
    assert app.get("/counts").json() == counts
    assert app.get("/notifications").json()["unread"] == 1


def test_reading_changes_nothing(user: Any, app: App) -> None:
    pk = notify(user, "new")[0]
    for path in ("/notifications", f"/notifications/{pk}", "/counts", "/topics"):
        assert app.get(path).status_code == 200
    assert inbox.unread_count(user) == 1


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"folder": "spam"}, "query.folder"),
        ({"folder": ""}, "query.folder"),
        ({"limit": 0}, "query.limit"),
        ({"limit": 101}, "query.limit"),
        ({"limit": "9" * 5000}, "query.limit"),
        ({"limit": "ten"}, "query.limit"),
        ({"cursor": "nonsense"}, "query.cursor"),
        ({"cursor": "2026-01-01T00:00:00_1"}, "query.cursor"),
        ({"cursor": "2026-01-01T00:00:00Z_0"}, "query.cursor"),
        ({"cursor": f"0001-01-01T00:00:00+23:59_{2**63 - 1}"}, "query.cursor"),
        ({"cursor": f"2026-01-01T00:00:00Z_{2**63}"}, "query.cursor"),
        ({"cursor": "\0"}, "query.cursor"),
        ({"cursor": "x" * 65}, "query.cursor"),
        ({"curser": ""}, "query.curser"),
        ({"y" * 5000: 1}, "query." + "y" * 74),
    ],
)
def test_a_wrong_argument_of_a_list_is_named(app: App, query: Any, place: str) -> None:
    assert places(app.get("/notifications", **query)) == [place]


@pytest.mark.parametrize("pk", ["0", "-1", "x", "1.5", str(2**63), "%00", "9" * 5000])
def test_an_id_that_cannot_be_one_is_named(app: App, pk: str) -> None:
    assert places(app.get(f"/notifications/{pk}")) == ["path.id"]


def test_the_notification_of_another_user_is_not_there(app: App) -> None:
    other, group = make_user("bob"), Group.objects.create(name="crew")
    group.user_set.add(other)
    hidden = [
        *notify(other, "private"),
        broadcast("for staff", to="staff").pk,
        broadcast("for the crew", to=group).pk,
        write("broadcast", title="waiting").pk,
    ]
    for pk in (*hidden, 987_654):
        expected = (404, "There is no such notification in your inbox.")
        assert problem(app.get(f"/notifications/{pk}")) == expected
    assert titles(app.get("/notifications")) == []


# Changing


@pytest.mark.parametrize(
    ("path", "before", "unread"),
    [
        ("/read", [inbox.mark_unread], 0),
        ("/unread", [inbox.mark_read], 2),
        ("/unread", [inbox.archive], 2),
        ("/archive", [], 0),
    ],
)
def test_a_change_names_what_it_changed(
    user: Any, app: App, path: str, before: list[Any], unread: int
) -> None:
    mine = [*notify(user, "one"), *notify(user, "two")]
    for change in before:
        change(user, mine)
    strange = notify(make_user("bob"), "not mine")[0]
    ids = [*mine, strange, 987_654, 0, -7, 2**63, 10**40]
    changed = app.post(path, {"ids": ids}).json()
    assert changed == {"ids": mine, "unread": unread}
    assert app.post(path, {"ids": ids}).json() == {"ids": [], "unread": unread}
    folder: inbox.Folder = "archived" if path == "/archive" else "all"
    assert len(inbox.list_entries(user, folder).entries) == 2


def test_the_notification_of_another_user_is_not_changed(app: App) -> None:
    other = make_user("bob")
    pk = notify(other, "not mine")[0]
    for path in ("/read", "/archive", "/unread"):
        assert app.post(path, {"ids": [pk]}).json()["ids"] == []
    (entry,) = inbox.list_entries(other).entries
    assert not entry.read
    assert not entry.archived


def test_everything_is_read_and_archived(user: Any, app: App) -> None:
    notify(user, "one")
    broadcast("two")
    assert app.post("/read-all").json() == {"unread": 0}
    assert app.get("/counts").json()["all"] == 2
    assert app.post("/archive-all").json() == {"unread": 0}
    assert app.get("/counts").json()["archived"] == 2


def test_the_users_open_pages_are_told_of_a_change(user: Any, app: App) -> None:
    pk = notify(user, "one")[0]
    with hints() as sent:
        app.post("/read", {"ids": [pk]})
    (told,) = [message for stream, message in sent if stream == f"user:{user.pk}"]
    assert b'"read"' in told["data"]


@pytest.mark.parametrize("path", ["/read", "/unread", "/archive"])
@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "body.ids"),
        ({"ids": None}, "body.ids"),
        ({"ids": 7}, "body.ids"),
        ({"ids": ["7"]}, "body.ids.0"),
        ({"ids": [1, 2.5]}, "body.ids.1"),
        ({"ids": [True]}, "body.ids.0"),
        ({"ids": list(range(1001))}, "body.ids"),
        ({"ids": [1], "muted": True}, "body.muted"),
    ],
)
def test_a_wrong_argument_of_a_change_is_named(
    user: Any, app: App, path: str, body: Any, place: str
) -> None:
    notify(user, "new")
    assert places(app.post(path, body)) == [place]
    assert inbox.unread_count(user) == 1


def test_few_of_very_many_mistakes_are_listed(app: App) -> None:
    assert len(places(app.post("/read", {"ids": ["x"] * 1000}))) == 20
    assert len(places(app.post("/read", {"ids": [], "y" * 5000: 1}))[0]) == 80


# Channels


def test_a_channel_is_muted_and_unmuted(user: Any, app: App) -> None:
    broadcast("noise")
    assert app.post("/mute", {"channel": "broadcast"}).json() == {"unread": 0}
    assert len(titles(app.get("/notifications"))) == 1
    answer = app.post("/mute", {"channel": "broadcast", "muted": False})
    assert answer.json() == {"unread": 0}
    broadcast("news")
    assert app.get("/counts").json()["unread"] == 1


@pytest.mark.parametrize(
    "channel",
    ["staff", "user:987654", "group:1", "topic:news", "nonsense", "", "user:\0", "x:" * 127],
)
def test_a_channel_that_is_not_the_users_is_not_there(app: App, channel: str) -> None:
    assert problem(app.post("/mute", {"channel": channel}))[0] == 404


def test_a_topic_is_joined_listed_and_left(user: Any, app: App) -> None:
    assert app.post("/topics/join", {"channel": "topic:news"}).json() == {
        "joined": True,
        "unread": 0,
    }
    assert app.post("/topics/join", {"channel": "topic:news"}).json()["joined"] is False
    broadcast("For those who follow", to="topic:news")
    app.post("/mute", {"channel": "topic:news"})
    topics = {topic.pop("channel"): topic for topic in app.get("/topics").json()["topics"]}
    assert topics["topic:news"] == {"followed": True, "muted": True, "readable": True}
    assert topics["topic:garden"] == {"followed": False, "muted": False, "readable": True}
    assert titles(app.get("/notifications")) == ["For those who follow"]
    assert app.post("/topics/leave", {"channel": "topic:news"}).json() == {
        "left": True,
        "unread": 0,
    }
    assert app.post("/topics/leave", {"channel": "topic:news"}).json()["left"] is False
    assert titles(app.get("/notifications")) == []


def test_a_topic_that_may_not_be_read_is_not_joined(user: Any, app: App) -> None:
    answer = app.post("/topics/join", {"channel": "topic:secret"})
    assert problem(answer) == (403, "You may not read this topic.")
    assert all(not topic.is_followed for topic in inbox.topics(user))


def test_no_more_topics_are_joined_than_the_site_allows(settings: Any, app: App) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "MAX_TOPICS": 1}
    assert app.post("/topics/join", {"channel": "topic:news"}).status_code == 200
    assert problem(app.post("/topics/join", {"channel": "topic:garden"}))[0] == 409


@pytest.mark.parametrize("path", ["/topics/join", "/topics/leave"])
@pytest.mark.parametrize(
    "channel", ["broadcast", "user:1", "topic:", "topic:a b", "news", "topic:\0"]
)
def test_what_is_no_topic_is_not_there(app: App, path: str, channel: str) -> None:
    assert problem(app.post(path, {"channel": channel}))[0] == 404


@pytest.mark.parametrize("path", ["/mute", "/topics/join", "/topics/leave"])
@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"channel": 7}', b'{"channel": "\\ud800"}', b'{"channel": "%s"}' % (b"x" * 256)],
)
def test_a_name_that_is_none_is_named(app: App, path: str, body: bytes) -> None:
    assert places(app.post(path, body)) == ["body.channel"]


def test_muted_is_true_or_false(app: App) -> None:
    assert places(app.post("/mute", {"channel": "broadcast", "muted": "no"})) == ["body.muted"]


# What belongs to no operation


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *(
            ("GET", path, "POST")
            for path in ("/read", "/read-all", "/mute", "/topics/join", "/token")
        ),
        *(
            ("POST", path, "GET, HEAD")
            for path in ("/notifications", "/notifications/1", "/counts")
        ),
        *((name, "/read", "POST") for name in ("PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_another_method_is_refused(
    user: Any, app: App, method: str, path: str, allowed: str
) -> None:
    notify(user, "new")
    answer = app.client.generic(method, f"/notifications/api/v1{path}", headers=app.headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    if method != "HEAD":
        assert problem(answer) == (405, f"Use {allowed}.")
    assert inbox.unread_count(user) == 1


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/notifications/", "/notifications/1/read"])
def test_an_address_without_an_operation_is_a_problem(app: App, path: str) -> None:
    assert problem(app.get(f"/{path.removeprefix('/')}"))[0] == 404
    assert problem(app.post(f"/{path.removeprefix('/')}"))[0] == 404


def test_head_answers_as_get_without_a_body(user: Any, app: App) -> None:
    notify(user, "new")
    answer = app.client.head("/notifications/api/v1/notifications")
    assert answer.status_code == 200
    assert answer.content == b""


def test_every_answer_is_for_one_person_and_one_moment(user: Any, app: App) -> None:
    answers = [
        app.get("/notifications"),
        app.get("/notifications/987654"),
        app.get("/nothing"),
        app.get("/read"),
        app.post("/read", b"{"),
        app.post("/read-all"),
        App().get("/counts"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 404, 405, 400, 200, 401]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "private, no-store"
        varies = {name.strip() for name in answer.headers["Vary"].split(",")}
        assert {"Authorization", "Cookie"} <= varies


def test_what_was_deleted_meanwhile_is_not_there(user: Any, app: App) -> None:
    pk = notify(user, "new")[0]
    Notification.objects.all().delete()
    assert problem(app.get(f"/notifications/{pk}"))[0] == 404
    assert app.post("/read", {"ids": [pk]}).json()["ids"] == []


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_does_not_answer_is_a_problem(
    tokens: None, user: Any, app: App, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> Any:
        raise error("a secret detail")

    apps = [app, App.with_token_of(user)]
    with connection.execute_wrapper(fail):
        answers = [answer for one in apps for answer in (one.get("/counts"), one.post("/read-all"))]
    for answer in answers:
        assert problem(answer) == (503, "The database does not answer now. Try again.")
        assert int(answer.headers["Retry-After"]) > 0
    assert "secret" not in caplog.text
    assert all(one.get("/counts").status_code == 200 for one in apps)
