"""The admin of API keys: shown once, scoped, and only for those with the permission."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from notifications.api.keys import find_key, make_key
from notifications.models import APIKey
from tests.admin.conftest import Staff

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/notifications/apikey/"
ADD = f"{LIST}add/"


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def fields(**changes: Any) -> dict[str, Any]:
    posted = {
        "name": "shop",
        "methods": ["publish", "history"],
        "channels": "user:*\r\n topic:news \r\n\r\nuser:*",
        "is_active": "on",
    }
    return {**posted, **changes}


def page_of(client: Client, url: str, data: dict[str, Any] | None = None) -> str:
    response = client.get(url) if data is None else client.post(url, data)
    assert response.status_code == 200, response
    return response.content.decode()


def test_each_page_needs_its_permission(staff: Staff) -> None:
    key, _ = make_key("shop", ["publish"], ["user:*"])
    change, delete = f"{LIST}{key.pk}/change/", f"{LIST}{key.pk}/delete/"
    assert Client().get(LIST).status_code == 302
    nobody = staff("view_connection")
    assert {nobody.get(url).status_code for url in (LIST, ADD, change, delete)} == {403}
    reader = staff("view_apikey")
    assert [reader.get(url).status_code for url in (LIST, change, ADD, delete)] == [
        200,
        200,
        403,
        403,
    ]
    assert reader.post(change, fields()).status_code == 403
    assert staff("add_apikey").get(ADD).status_code == 200
    assert staff("delete_apikey", "view_apikey").get(delete).status_code == 200


def test_a_new_key_is_shown_once(boss: Client) -> None:
    response = boss.post(ADD, fields())
    page = response.content.decode()
    found = re.search(r'value="(ntf_[\w-]{43})"', page)
    assert found is not None
    assert "no-store" in response["Cache-Control"]
    assert "Copy this key now" in page
    key = find_key(found[1])
    assert key is not None
    assert (key.methods, key.channels) == (["publish", "history"], ["user:*", "topic:news"])
    assert key.is_active
    secret = found[1][12:]
    for url in (LIST, f"{LIST}{key.pk}/change/", f"{LIST}{key.pk}/history/", "/admin/"):
        assert secret not in page_of(boss, url)
    kept = [*LogEntry.objects.values_list("change_message", "object_repr")]
    assert secret not in str(kept)
    assert secret not in str([session.get_decoded() for session in Session.objects.all()])
    assert secret not in str(boss.cookies)


def test_changing_a_key_keeps_its_secret(boss: Client) -> None:
    key, secret = make_key("shop", ["publish"], ["user:*"])
    url = f"{LIST}{key.pk}/change/"
    page = page_of(boss, url)
    assert key.prefix in page
    assert 'value="publish" id="id_methods_0" checked' in page
    assert ">\nuser:*</textarea>" in page
    response = boss.post(url, fields(name="till", channels="broadcast", methods=["info"]))
    assert response.status_code == 302
    changed = find_key(secret)
    assert changed is not None
    assert (changed.name, changed.methods, changed.channels) == ("till", ["info"], ["broadcast"])
    assert boss.post(url, fields(is_active="")).status_code == 302
    assert find_key(secret) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"methods": []}, "methods"),
        ({"methods": ["rpc"]}, "methods"),
        ({"channels": ""}, "channels"),
        ({"channels": " \r\n "}, "channels"),
        ({"channels": "us*er"}, "channels"),
        ({"channels": "x" * 256}, "channels"),
        ({"channels": "x\n" * 20_000}, "channels"),
    ],
)
def test_what_makes_no_sense_is_refused(boss: Client, changes: Any, field: str) -> None:
    response = boss.post(ADD, fields(**changes))
    assert response.status_code == 200
    assert set(response.context["adminform"].form.errors) == {field}
    assert not APIKey.objects.exists()


def test_the_list_shows_keys_by_their_beginning(boss: Client) -> None:
    key, secret = make_key("shop", ["publish"], ["user:*"])
    page = page_of(boss, LIST)
    assert key.prefix in page
    assert secret not in page
    assert "shop" in page
