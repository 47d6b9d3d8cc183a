"""The server API over HTTP: keys, sizes, statuses, and several commands in one request."""

import json
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.test import Client

from notifications.api.keys import make_key
from notifications.api.server import streams, views
from notifications.api.server.methods import GRANTABLE, METHODS
from notifications.api.server.views import MAX_BODY
from notifications.models import APIKey, Notification
from notifications.publishing.writing import rows_written
from tests.api.backends import Caller
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"channel": "broadcast", "data": {"title": "Hello"}}


@pytest.fixture
def caller() -> Caller:
    return Caller()


def post(path: str = "/api/publish", **headers: str) -> tuple[int, Any]:
    response = Client().post(
        path, json.dumps(HELLO), content_type="application/json", headers=headers
    )
    assert response["Content-Type"] == "application/json"
    return response.status_code, json.loads(response.content)


# Keys


def test_a_key_comes_in_either_of_two_headers(caller: Caller) -> None:
    assert post(**{"X-API-Key": caller.secret})[0] == 200
    for scheme in ("apikey", "ApiKey"):
        assert post(Authorization=f"{scheme} {caller.secret}")[0] == 200
    assert Notification.objects.count() == 3


def test_without_a_valid_key_the_answer_is_401(caller: Caller) -> None:
    refused = (401, {"code": 101, "message": "unauthorized"})
    assert post() == refused
    assert post(**{"X-API-Key": "nonsense"}) == refused
    assert post(**{"X-API-Key": caller.secret[:-1] + "!"}) == refused
    assert post(Authorization=f"Bearer {caller.secret}") == refused
    assert post(Authorization="apikey") == refused
    # Addresses are in many logs.
    assert post(f"/api/publish?api_key={caller.secret}") == refused
    assert not Notification.objects.exists()


def test_a_deactivated_key_stops_at_once(caller: Caller) -> None:
    assert post(**{"X-API-Key": caller.secret})[0] == 200
    APIKey.objects.update(is_active=False)
    assert post(**{"X-API-Key": caller.secret})[0] == 401


def test_a_call_writes_the_last_use_of_its_key(caller: Caller) -> None:
    caller.answer("info")
    caller.key.refresh_from_db()
    assert caller.key.last_used_at is not None


@pytest.mark.parametrize("method", GRANTABLE)
def test_each_method_needs_its_place_in_the_scope(method: str) -> None:
    others = tuple(name for name in GRANTABLE if name != method)
    user = str(make_user().pk)
    request = {**HELLO, "channels": ["broadcast"], "user": user}
    assert Caller(methods=others).error(method, **request) == 103
    answer = Caller(methods=(method,)).answer(method, **request)
    assert answer.get("error", {}).get("message") != "permission denied"


# HTTP


def test_only_post_is_allowed(caller: Caller) -> None:
    for path in ("/api", "/api/publish"):
        response = Client().get(path, headers={"X-API-Key": caller.secret})
        assert (response.status_code, response["Allow"]) == (405, "POST")
        assert json.loads(response.content)["code"] == 107


def test_any_content_type_is_read(caller: Caller) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense", ""):
        response = Client().post(
            "/api/publish",
            json.dumps(HELLO).encode(),
            content_type=content_type,
            headers={"X-API-Key": caller.secret},
        )
        assert response.status_code == 200, content_type


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "[null]", "7", '{"channel": 7}', '{"channel": "\\ud800"}', b"\xff", "[" * 9000],
)
def test_a_body_that_is_no_request_is_400(caller: Caller, body: bytes | str) -> None:
    response = caller.post("/publish", body)
    assert response.status_code == 400
    error = json.loads(response.content)
    assert error["code"] == 107
    assert len(error["message"]) < 600


def test_a_body_that_is_too_large_is_413(caller: Caller) -> None:
    response = caller.post("/publish", b"x" * (MAX_BODY + 1))
    assert response.status_code == 413
    assert json.loads(response.content) == {"code": 106, "message": "limit exceeded"}
    assert caller.post("/publish", b"x" * MAX_BODY).status_code == 400


def test_unknown_methods_are_404(caller: Caller) -> None:
    for path in ("/nonsense", "/connections", "/map_publish"):
        response = caller.post(path, "{}")
        assert (response.status_code, json.loads(response.content)["code"]) == (404, 104)


def test_refused_methods_are_not_available(caller: Caller) -> None:
    for name in METHODS.keys() - set(GRANTABLE):
        assert caller.error(name) == 108


def test_unknown_fields_are_ignored(caller: Caller) -> None:
    assert caller.result("publish", **HELLO, future={"x": 1})["offset"] == 1


def test_what_is_null_counts_as_left_out(caller: Caller) -> None:
    user = str(make_user().pk)
    full = {"skip_history": None, "tags": None, "version": None, "b64data": None}
    data = {"title": "Hello", "body": None, "data": None, "expires_at": None}
    assert caller.result("publish", channel="broadcast", data=data, **full)["offset"] == 1
    history = caller.result("history", channel="broadcast", limit=9, since=None, reverse=None)
    assert len(history["publications"]) == 1
    followed = {"user": user, "channel": "topic:news"}
    unset = dict.fromkeys(("info", "data", "override", "client", "expire_at", "recover_since"))
    assert caller.result("subscribe", **followed, **unset) == {}
    assert caller.result("disconnect", user=user, whitelist=None, disconnect=None) == {}
    assert caller.error("publish", channel=None, data={"title": "x"}) == 107
    assert json.loads(caller.post("/info", "null").content) == {"result": {"nodes": []}}
    assert batch(caller, {"publish": None, "info": {"x": None}}, parallel=None) == [
        {"info": {"nodes": []}}
    ]
    command = json.dumps({"id": None, "method": "info", "params": None})
    assert json.loads(caller.post("", command).content) == {"result": {"nodes": []}}


def test_errors_become_statuses_for_those_who_ask_for_it(caller: Caller) -> None:
    mode = {"X-Centrifugo-Error-Mode": "transport"}
    narrow = Caller(channels=("topic:*",))
    statuses = {
        (caller, "publish", '{"channel": "nonsense", "data": {"title": "x"}}'): (404, 102),
        (caller, "publish", '{"channel": "broadcast", "data": {}}'): (400, 107),
        (caller, "history_remove", "{}"): (400, 108),
        (narrow, "publish", json.dumps(HELLO)): (403, 103),
        (caller, "history", '{"channel": "broadcast", "since": {"offset": 9}}'): (416, 112),
        (caller, "broadcast", json.dumps({"channels": ["x"] * 1001})): (413, 106),
    }
    caller.result("publish", **HELLO)
    for (who, method, body), (status, code) in statuses.items():
        response = who.post(f"/{method}", body, **mode)
        assert (response.status_code, json.loads(response.content)["code"]) == (status, code)
        assert who.post(f"/{method}", body).status_code == 200
    assert caller.post("/publish", json.dumps(HELLO), **mode).status_code == 200


def test_a_request_is_no_transaction_of_the_host(caller: Caller, monkeypatch: Any) -> None:
    """With ``ATOMIC_REQUESTS``, nothing would be committed before the answer."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    depths = []

    def look(**kwargs: Any) -> None:
        depths.append(len(connection.savepoint_ids))

    rows_written.connect(look)
    try:
        assert caller.result("publish", **HELLO)["offset"] == 1
    finally:
        rows_written.disconnect(look)
    assert depths == [0]


def test_without_a_database_no_key_can_be_found(caller: Caller, monkeypatch: Any) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("a secret detail")

    monkeypatch.setattr(views, "find_key", fail)
    response = caller.post("/publish", json.dumps(HELLO))
    assert (response.status_code, json.loads(response.content)) == (
        503,
        {"code": 100, "message": "internal server error"},
    )


def test_an_error_of_the_database_is_an_answer(caller: Caller, monkeypatch: Any) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("a secret detail")

    monkeypatch.setattr(streams, "publish_to_each", fail)
    answer = caller.answer("publish", **HELLO)
    assert answer == {"error": {"code": 100, "message": "internal server error"}}


# Several commands


def batch(caller: Caller, *commands: Any, **more: Any) -> list[dict[str, Any]]:
    response = caller.post("/batch", json.dumps({"commands": commands, **more}))
    assert response.status_code == 200, response.content
    return list(json.loads(response.content)["replies"])


def test_one_bad_command_undoes_no_other(caller: Caller) -> None:
    replies = batch(
        caller,
        {"publish": HELLO},
        {"publish": {"channel": "nonsense", "data": {"title": "x"}}},
        {"publish": {"channel": 7}},
        {"nonsense": {}},
        {"batch": {"commands": []}},
        {"history_remove": {"channel": "broadcast"}},
        {},
        None,
        "publish",
        {"id": 7, "publish": HELLO},
    )
    codes = [reply.get("error", {}).get("code") for reply in replies]
    assert codes == [None, 102, 107, 104, 104, 108, 104, 107, 107, None]
    assert (replies[0]["publish"]["offset"], replies[-1]["publish"]["offset"]) == (1, 2)


def test_each_command_of_a_batch_is_checked_against_the_scope() -> None:
    narrow = Caller(methods=("publish",), channels=("topic:*",))
    topic = {"channel": "topic:news", "data": {"title": "x"}}
    replies = batch(narrow, {"publish": topic}, {"publish": HELLO}, {"info": {}})
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 103, 103]


def test_a_batch_that_is_too_large_does_nothing(caller: Caller) -> None:
    commands = ",".join(['{"publish":{}}'] * 100_000)
    response = caller.post("/batch", f'{{"commands":[{commands}]}}')
    assert response.status_code == 413
    assert json.loads(response.content)["code"] == 106
    response = caller.post("/batch", json.dumps({"commands": [{"publish": HELLO}] * 1001}))
    assert response.status_code == 413
    assert not Notification.objects.exists()


def test_the_work_of_a_batch_is_limited_too(caller: Caller) -> None:
    topics = [f"topic:a{number}" for number in range(600)]
    send = {"broadcast": {"channels": topics, "data": {"title": "x"}}}
    replies = batch(caller, send, send, {"publish": HELLO}, *[{"info": {}}] * 5)
    codes = [reply.get("error", {}).get("code") for reply in replies]
    assert codes == [None, 106, None, None, None, None, 106, 106]
    assert Notification.objects.count() == 601


def test_the_old_route_names_the_method_in_the_body(caller: Caller) -> None:
    for method in ("publish", "PUBLISH", 0):
        body = json.dumps({"id": 7, "method": method, "params": HELLO}, indent=1)
        answer = json.loads(caller.post("", body).content)
        assert answer["id"] == 7
        assert answer["result"]["offset"] > 0
    assert Notification.objects.count() == 3


def test_the_old_route_takes_a_command_in_each_line(caller: Caller) -> None:
    lines = [
        {"method": "publish", "params": HELLO},
        {"method": "nonsense", "params": {}},
        {"method": 99, "params": {}},
        {"method": "publish"},
        {"method": "info", "params": {}},
    ]
    response = caller.post("", "\n".join(json.dumps(line) for line in lines) + "\n")
    answers = [json.loads(line) for line in response.content.splitlines()]
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == [None, 104, 104, 107, None]
    assert caller.post("", "{}\n" * 1001).status_code == 413
    carriage_returns = caller.post("", "{}\r" * 1001)
    assert (carriage_returns.status_code, carriage_returns.content.count(b"\n")) == (400, 0)
    assert caller.post("", "").status_code == 400
    assert caller.post("", "{}\n{").status_code == 400


def test_addresses_beside_the_api_are_not_its_own(caller: Caller) -> None:
    for path in ("s", "publish", "/publish/", "/publish/x"):
        assert caller.post(path, "{}").status_code == 404


def test_another_key_is_counted_for_itself() -> None:
    used, unused = Caller(), make_key("other", [], [])[0]
    used.answer("info")
    unused.refresh_from_db()
    assert unused.last_used_at is None
