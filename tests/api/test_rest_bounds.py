"""What a request to the REST API may cost: bytes, requests of a user, queries of the database."""

from datetime import timedelta
from typing import Any

import pytest

from notifications import inbox, notify
from notifications.api.rest.limits import Limits
from notifications.conf import app_settings
from notifications.models import Subscription
from tests.api.callers import App, places, problem
from tests.rooms import LONG_AGO, fill, make_user, plans, queries, reads_whole_table

pytestmark = pytest.mark.django_db(transaction=True)


# Bodies


def test_a_body_that_is_too_large_is_refused(app: App) -> None:
    most = app_settings.MAX_FRAME_SIZE
    assert places(app.post("/read", b"[" + b" " * (most - 2) + b"]")) == ["body"]
    assert problem(app.post("/read", b" " * (most + 1))) == (413, "The body is too large.")
    assert problem(app.post("/read-all", b" " * 3_000_000))[0] == 413


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"ids": [1,]}',
        b'{"ids": [' + b"9" * 5000 + b"]}",
        b'{"ids": ' + b"[" * 30_000,
        b"[" * 30_000 + b"]" * 30_000,
    ],
)
def test_a_body_that_is_no_json_is_refused(app: App, body: bytes) -> None:
    answer = app.post("/read", body)
    assert problem(answer)[0] in (400, 422)


@pytest.mark.parametrize("body", [b"null", b"7", b'"ids"', b"[]", b"[[]]", b"NaN"])
def test_a_body_that_is_no_object_is_a_wrong_argument(app: App, body: bytes) -> None:
    assert places(app.post("/read", body)) == ["body"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "",
    ],
)
def test_a_body_of_another_type_is_refused(app: App, content_type: str) -> None:
    for path in ("/read", "/read-all"):
        answer = app.post(path, b'{"ids": [1]}', content_type)
        assert problem(answer) == (415, "Send the body as application/json.")


def test_a_form_that_a_middleware_has_read_is_refused(user: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.api.test_rest_bounds.read_form"]
    app = App.in_session_of(user)
    form = b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\n1\r\n--x--\r\n'
    assert problem(app.post("/read", form, "multipart/form-data; boundary=x"))[0] == 415


def read_form(get_response: Any) -> Any:
    """A middleware that looks into every form."""

    def middleware(request: Any) -> Any:
        request.POST.get("anything")
        return get_response(request)

    return middleware


# Requests


def test_a_user_makes_as_many_requests_as_commands(tokens: None, user: Any, settings: Any) -> None:
    limited = {"COMMAND_BURST": 3, "COMMAND_RATE": 0.01}
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, **limited}
    apps = [App.in_session_of(user), App.with_token_of(user), App.in_session_of(user)]
    assert [app.get("/counts").status_code for app in apps] == [200, 200, 200]
    answer = apps[0].get("/counts")
    assert problem(answer) == (429, "Too many requests.")
    assert 1 <= int(answer.headers["Retry-After"]) <= 100
    pk = notify(user, "new")[0]
    assert problem(apps[1].post("/read", {"ids": [pk]}))[0] == 429
    assert inbox.unread_count(user) == 1
    assert App.in_session_of(make_user("bob")).get("/counts").status_code == 200


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_with_time(settings: Any) -> None:
    limited = {"COMMAND_BURST": 2, "COMMAND_RATE": 0.5}
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, **limited}
    clock = Clock()
    limits = Limits(clock)
    assert [limits.take(1), limits.take(1), limits.take(1)] == [0, 0, 2]
    clock.now += 1.0
    assert limits.take(1) == 1
    clock.now += 1.0
    assert [limits.take(1), limits.take(1)] == [0, 2]
    clock.now += 1_000.0
    assert [limits.take(1), limits.take(1), limits.take(1)] == [0, 0, 2]


def test_users_who_make_no_requests_any_more_are_forgotten() -> None:
    clock = Clock()
    limits = Limits(clock)
    for user_id in range(1000):
        limits.take(user_id)
    assert len(limits) == 1000
    for _ in range(600):
        clock.now += app_settings.COMMAND_BURST / app_settings.COMMAND_RATE + 1
        limits.take(0)
    assert len(limits) == 1


# Queries


def test_the_queries_of_a_page_do_not_grow_with_it(tokens: None, user: Any) -> None:
    app = App.with_token_of(user)
    for number in range(30):
        notify(user, f"number {number}", actor=make_user(f"actor {number}"), data={"n": number})
    app.get("/counts")  # the first request of a user subscribes
    few = queries(lambda: app.get("/notifications", limit=2))
    many = queries(lambda: app.get("/notifications", limit=30))
    assert len(few) == len(many) <= 9
    assert len(queries(lambda: app.get("/counts"))) <= 7
    assert len(queries(lambda: app.get("/topics"))) <= 3
    pk = inbox.list_entries(user).entries[0].notification.pk
    assert len(queries(lambda: app.get(f"/notifications/{pk}"))) <= 6


def test_the_queries_of_a_change_do_not_grow_with_its_ids(tokens: None, user: Any) -> None:
    app = App.with_token_of(user)
    ids = [pk for number in range(30) for pk in notify(user, f"number {number}")]
    app.get("/counts")
    few = queries(lambda: app.post("/read", {"ids": ids[:1]}))
    many = queries(lambda: app.post("/read", {"ids": ids[1:]}))
    assert len(many) <= len(few) <= 20


@pytest.mark.parametrize("folder", inbox.FOLDERS)
def test_no_request_reads_the_whole_history(tokens: None, folder: str) -> None:
    user = make_user("old", date_joined=LONG_AGO)
    app = App.with_token_of(user)
    fill("broadcast", 2000)
    fill(f"user:{user.pk}", 2000)
    Subscription.objects.update(since=0, read=1000, archived=500)
    pk = inbox.list_entries(user).entries[-1].notification.pk
    after = LONG_AGO + timedelta(seconds=900)
    cursor = f"{after.isoformat().replace('+00:00', 'Z')}_{pk}"
    asked = [
        lambda: app.get("/notifications", folder=folder, limit=5, cursor=cursor),
        lambda: app.get(f"/notifications/{pk}"),
        lambda: app.get("/counts"),
        lambda: app.post("/read", {"ids": [pk]}),
        lambda: app.post("/archive", {"ids": [pk]}),
    ]
    for ask in asked:
        assert ask().status_code == 200
        assert not reads_whole_table(plans(ask))
