"""Numbers of machines stay numbers where a site writes those of people with separators."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management.color import no_style
from django.db import connection
from django.test import Client
from django.utils.formats import number_format
from pytest_django import Settings

from notifications import broadcast
from notifications.models import Broadcast, Notification
from tests.rooms import fill, make_old_users, make_user, write

pytestmark = pytest.mark.django_db(transaction=True)

#: Of the first user and the first notification.
FIRST = 1_234_567

#: More than a thousand, as are the users.
UNREAD = 1_100

GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:[.,'\u00a0\u202f]\d{3})+(?![\d.])")

FOR_PEOPLE = {"aria-label", "title"}


class Page(HTMLParser):
    """Collects numbers with separators: in attributes for machines, and in what people read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[tuple[str, str]] = []
        self.read: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "d" or not GROUPED.search(value or ""):  # d is the shape of an icon
                continue
            if name in FOR_PEOPLE:
                self.read.append(value or "")
            else:
                self.wrong.append((name, value or ""))

    def handle_data(self, data: str) -> None:
        if GROUPED.search(data):
            self.read.append(data.strip())


@pytest.fixture
def admin(settings: Settings) -> Any:
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = "de"
    assert number_format(FIRST) == "1.234.567"
    user = make_user("admin", pk=FIRST, is_staff=True, is_superuser=True)
    _continue_from(user)
    make_old_users(UNREAD)
    row = write("topic:news", pk=FIRST, title="Eins", url="/notifications/")
    _continue_from(row)
    Group.objects.create(pk=FIRST, name="Mannschaft")
    fill(f"user:{user.pk}", UNREAD)
    Notification.objects.filter(stream__name=f"user:{user.pk}").update(url="/x/")
    broadcast("An alle", actor=user)
    return user


def _continue_from(row: Any) -> None:
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), [type(row)]):
            cursor.execute(sql)


@pytest.fixture
def client(admin: Any) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def test_no_attribute_of_a_page_has_a_number_with_separators(client: Client) -> None:
    assert Notification.objects.order_by("pk")[0].pk >= FIRST
    everyone = Broadcast.objects.get(title="An alle").pk
    one = Notification.objects.filter(title="number 7").get().pk
    client.post(f"/notifications/archive/{one}/")
    read: list[str] = []
    for path in (
        "/",
        "/notifications/",
        "/notifications/unread/",
        "/notifications/archived/",
        "/notifications/topics/",
        "/nope/",
        "/admin/",
        "/admin/auth/user/",
        f"/admin/auth/user/{FIRST}/change/",
        "/admin/notifications/notification/",
        f"/admin/notifications/notification/{one}/change/",
        "/admin/notifications/connection/",
        "/admin/notifications/broadcast/",
        "/admin/notifications/broadcast/add/",
        f"/admin/notifications/broadcast/{everyone}/change/",
        f"/admin/notifications/broadcast/{everyone}/withdraw/",
    ):
        read += _read(client.get(path), path)
    older = re.search(r'href="([^"]+before=[^"]+)"', client.get("/notifications/").content.decode())
    assert older is not None
    read += _read(client.get(older[1]), older[1])
    composed = {
        "title": "An alle",
        "level": "info",
        "audience": "broadcast",
        "when": "now",
        "step": "preview",
    }
    form = client.get("/admin/notifications/broadcast/add/").content.decode()
    key = re.search(r'name="key" value="(\w+)"', form)
    assert key is not None
    composed["key"] = key[1]
    preview = client.post("/admin/notifications/broadcast/add/", composed)
    assert any("1.101 Benutzer" in text for text in _read(preview, "preview"))
    chosen = {"action": "send_notification", "_selected_action": [str(FIRST)], "select_across": "1"}
    read += _read(client.post("/admin/auth/user/", chosen), "users")
    # What people read has them; more than a thousand are not counted.
    assert any("1.000 ungelesen" in text for text in read), read


def _read(response: Any, path: str) -> list[str]:
    page = Page(response.content.decode())
    assert page.wrong == [], path
    return page.read
