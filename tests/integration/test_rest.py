"""The REST API on real servers: what docs/rest-api.md shows, and what sockets hear of it."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.docs.blocks import blocks_of
from tests.integration import jobs
from tests.integration.places import SECRET, Person, Place
from tests.servers import Server
from tests.sites import ROOT

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "rest-api.md"

#: The inbox that the page shows, and a connection token of its user.
PREPARE = """
from notifications.connect.tokens import make_token
reader = get_user_model().objects.get(username="reader")
notify(reader, "Welcome")
options = {"kind": "order.shipped", "level": "success", "url": "/orders/7/", "data": {"order": 7}}
notify(reader, "Your order is on its way", **options)
ids = [row.pk for row in reader.notifications.order_by("pk")]
print(make_token(reader), *ids)
"""


def shape(value: Any) -> Any:
    """The names and types in JSON, for comparing examples with real answers."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


def test_the_curl_commands_of_the_page_answer_as_it_shows(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    site = server(NOTIFICATIONS_TOKEN_SECRET=SECRET, NOTIFICATIONS_TOPICS="releases")
    imports = "from django.contrib.auth import get_user_model\nfrom notifications import notify\n"
    printed = site.manage("shell", "--no-imports", "-c", imports + PREPARE).stdout
    token, first, second = printed.split()
    names = {"SITE": site.url, "API": f"{site.url}/notifications/api/v1", "TOKEN": token}
    blocks = [(language, source) for _, language, source in blocks_of(PAGE)]
    compared = 0
    for number, (language, source) in enumerate(blocks):
        if language != "shell" or "curl" not in source:
            continue
        script = "set -euo pipefail\n" + source.replace("[1, 2]", f"[{first}, {second}]")
        done = subprocess.run(
            ["bash", "-c", script],
            env={**site.env, **names},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answer = json.loads(done.stdout)
        names["NEXT"] = answer.get("next") or names.get("NEXT", "")
        if blocks[number + 1][0] == "json":
            compared += 1
            shown = json.loads(blocks[number + 1][1])
            assert shape(answer) == shape(shown), source
            for name in ("title", "status", "errors", "joined", "unread"):
                assert answer.get(name) == shown.get(name), source
    assert compared == 6


def test_the_page_lists_the_operations_of_the_document(server: Callable[..., Server]) -> None:
    with urllib.request.urlopen(f"{server().url}/notifications/api/v1/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    documented = [
        (method.upper(), path, operation["summary"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]
    rows = re.findall(r"^\| `([A-Z]+)` \| `(/\S*)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(documented)


# Together with sockets


def call(place: Place, person: Person, path: str, body: Any = None) -> Any:
    """Call the API with the person's token: POST a body as JSON, or GET without one."""
    request = urllib.request.Request(
        f"{place.server.url}/notifications/api/v1{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {person.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_change_over_http_reaches_the_sockets_of_the_user(place: Place) -> None:
    person, other = place.person(), place.person()
    phone, stranger = place.connected(person), place.connected(other)
    ids = place.other.run(jobs.notify_user, person.id, ["one", "two"])
    phone.wait_for_titles(["one", "two"])
    assert call(place, person, "/read", {"ids": ids[:1]}) == {"ids": ids[:1], "unread": 1}
    read = {"type": "read", "ids": ids[:1], "unread": 1}
    phone.wait(lambda: any(read.items() <= each.items() for each in phone.messages), "one is read")
    assert call(place, person, "/topics/join", {"channel": "topic:news"})["joined"]
    phone.wait(lambda: "join" in kinds(phone), "the topic was joined")
    assert call(place, person, "/topics/leave", {"channel": "topic:news"})["left"]
    phone.wait(lambda: "leave" in kinds(phone), "the topic was left")
    assert call(place, person, "/read-all", {}) == {"unread": 0}
    phone.wait(lambda: "read_all" in kinds(phone), "all was read")
    assert kinds(stranger) == []


def kinds(client: Any) -> list[str]:
    return [message["type"] for message in client.messages]


def test_bad_requests_are_answered_and_leave_no_traceback(place: Place) -> None:
    person = place.person()
    for path, body, status in (
        ("/read", {"ids": "x"}, HTTPStatus.UNPROCESSABLE_ENTITY),
        ("/read", {"ids": [1] * 40_000}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ("/nothing", {}, HTTPStatus.NOT_FOUND),
        ("/counts", {}, HTTPStatus.METHOD_NOT_ALLOWED),
    ):
        with pytest.raises(HTTPError) as refused:
            call(place, person, path, body)
        assert refused.value.code == status
        assert refused.value.headers["Content-Type"] == "application/problem+json"
        assert json.load(refused.value)["status"] == status
    assert place.tracebacks() == ""
