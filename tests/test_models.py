"""Validators, constraints and the querysets for other apps."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from notifications import broadcast, inbox, notify
from notifications.models import Notification, validate_kind, validate_text, validate_url
from notifications.publishing.notify import withdraw
from notifications.streams import feeds as stream_feeds
from notifications.streams.rows import ensure
from tests.rooms import LONG_AGO, make_user

GOOD_URLS = [
    "",
    "/",
    "/orders/7/?a=1#b",
    "orders/7/",
    "?page=2",
    "#top",
    "https://example.org/",
    "http://example.org:8000/ä",
    "HTTPS://EXAMPLE.org",
    "/a b",
    "/search?q=http://x",
]

BAD_URLS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "mailto:a@example.org",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/a\nb",
    "http:evil.example",
    "http://",
    "http:///path",
    "http://[::1",
    "/a\x7f",
    "/a ",
    "/\ud800",
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_valid_links(url: str) -> None:
    validate_url(url)


@pytest.mark.parametrize("url", BAD_URLS)
def test_invalid_links(url: str) -> None:
    with pytest.raises(ValidationError):
        validate_url(url)


@given(st.text())
def test_any_text_is_a_safe_link_or_a_validation_error(url: str) -> None:
    try:
        validate_url(url)
    except ValidationError:
        return
    assert not url.lstrip().lower().startswith(("javascript:", "data:", "//"))


@pytest.mark.parametrize("kind", ["message", "order.shipped", "a-b_c.d1"])
def test_valid_kinds(kind: str) -> None:
    validate_kind(kind)


@pytest.mark.parametrize("kind", ["", "Order", "a.", ".a", "a..b", "a b", "a\n", "ä"])
def test_invalid_kinds(kind: str) -> None:
    with pytest.raises(ValidationError):
        validate_kind(kind)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_cannot_be_stored_is_invalid(text: str) -> None:
    with pytest.raises(ValidationError):
        validate_text(text)


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    call_command("makemigrations", "notifications", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_a_second_offset_or_key() -> None:
    first = broadcast("one", key="k")
    same = {"stream": first.stream, "title": "x"}
    with pytest.raises(IntegrityError):
        Notification.objects.create(**same, offset=first.offset)
    with pytest.raises(IntegrityError):
        Notification.objects.create(**same, key="k")
    Notification.objects.create(**same)
    Notification.objects.create(**same)


@pytest.mark.django_db(transaction=True)
def test_visible_notifications_are_published_not_withdrawn_and_not_expired() -> None:
    seen = broadcast("seen", expires_at=timezone.now() + timedelta(hours=1))
    withdraw(Notification.objects.filter(pk=broadcast("withdrawn").pk))
    broadcast("later", publish_at=timezone.now() + timedelta(hours=1))
    assert [n.title for n in Notification.objects.visible()] == ["seen"]
    assert seen.expires_at is not None
    assert not Notification.objects.visible(seen.expires_at).exists()
    assert Notification.objects.published().count() == 2
    assert [n.title for n in Notification.objects.waiting()] == ["later"]


def shown(user: Any) -> dict[str, set[str]]:
    rows = Notification.objects
    querysets = {
        "active": rows.active(user),
        "unread": rows.unread(user),
        "read": rows.read(user),
        "archived": rows.archived(user),
    }
    return {name: {n.title for n in queryset} for name, queryset in querysets.items()}


@pytest.mark.django_db(transaction=True)
def test_querysets_agree_with_the_inbox() -> None:
    other = make_user("other", date_joined=LONG_AGO)
    broadcast("before")
    user = make_user()
    inbox.list_entries(user)
    ids = {title: broadcast(title).pk for title in "abcdefg"}
    notify(user, "private")
    broadcast("staff only", to="staff")
    inbox.archive(user, [ids["a"]])
    inbox.mark_read(user, [ids["b"], ids["d"]])
    everything = {*"abcdefg", "private"}
    assert shown(user) == {
        "active": everything,
        "unread": everything - {*"abd"},
        "read": {*"abd"},
        "archived": {"a"},
    }
    inbox.archive_all(user)
    inbox.mark_unread(user, [ids["c"], ids["d"]])
    inbox.mark_read(user, [ids["d"]])
    broadcast("new")
    assert shown(user) == {
        "active": everything | {"new"},
        "unread": {"c", "new"},
        "read": everything - {"c"},
        "archived": everything - {*"cd"},
    }
    assert shown(user)["unread"] == {
        entry.notification.title for entry in inbox.list_entries(user, "unread").entries
    }
    assert shown(user)["archived"] == {
        entry.notification.title for entry in inbox.list_entries(user, "archived").entries
    }
    stream_feeds.load_inboxes([other])
    assert shown(other)["unread"] == {"before", *"abcdefg", "new"}


@pytest.mark.django_db
def test_rows_have_readable_names() -> None:
    stream = ensure(["topic:a"])["topic:a"]
    assert str(stream) == "topic:a"
    assert str(Notification(stream=stream, title="hello")) == "hello"
