"""The inbox, its changes and the topics, as used by a browser without JavaScript."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

from notifications import inbox, notify
from notifications.models import Notification
from notifications.views.inbox import PAGE_SIZE

pytestmark = pytest.mark.django_db(transaction=True)

ONE = ("mark_as_read", "mark_as_unread", "archive", "delete")
ALL = ("mark_all_as_read", "archive_all")
FOLDERS = ("all", "unread", "archived")


def address(name: str, *args: Any) -> str:
    return reverse(f"notifications:{name}", args=args)


def states(user: User) -> dict[str, tuple[bool, bool]]:
    """Map the titles of all notifications of a user to (read, archived)."""
    entries = [
        entry
        for folder in ("all", "archived")
        for entry in inbox.list_entries(user, folder, limit=100).entries
    ]
    return {entry.notification.title: (entry.read, entry.archived) for entry in entries}


def titles(page: str) -> list[str]:
    return [title for title in re.findall(r'data-part="title"[^>]*>([^<]*)<', page) if title]


# Inbox


@pytest.mark.parametrize("name", FOLDERS)
def test_anonymous_visitors_are_redirected_to_the_login(client: Client, name: str) -> None:
    response = client.get(address(name))
    assert response.status_code == 302
    assert response.headers["Location"] == f"{reverse('login')}?next={address(name)}"


def test_each_folder_lists_its_notifications(browser: Client, reader: User) -> None:
    ids = [notify(reader, title)[0] for title in ("unread", "read", "archived")]
    inbox.mark_read(reader, ids[1:2])
    inbox.archive(reader, ids[2:])

    def listed(name: str) -> list[str]:
        page = browser.get(address(name)).content.decode()
        return titles(page.split("<main")[1])

    assert listed("all") == ["read", "unread"]
    assert listed("unread") == ["unread"]
    assert listed("archived") == ["archived"]


def test_notifications_of_other_users_are_not_listed(browser: Client) -> None:
    notify(User.objects.create_user("other"), "Secret")
    assert b"Secret" not in browser.get(address("all")).content


def test_pages_neither_skip_nor_repeat_notifications(browser: Client, reader: User) -> None:
    expected = [f"Number {number}" for number in range(2 * PAGE_SIZE + 1)]
    for title in expected:
        notify(reader, title)
    seen: list[str] = []
    url = address("all")
    for _ in range(3):
        page = browser.get(url).content.decode()
        seen += titles(page.split("<main")[1])
        older = re.search(r'rel="next" href="([^"]+)"', page)
        url = older[1].replace("&amp;", "&") if older else ""
    assert seen == expected[::-1]
    assert not url


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:00_5",
        "2026-11-23T00:00:00Z_x",
        "0001-01-01T00:00:00+14:00_1",
        "9999-12-31T23:59:59-14:00_1",
        "2026-11-23T00:00:00Z_0",
        f"2026-11-23T00:00:00Z_{10**30}",
        "\x00",
    ],
)
def test_an_invalid_cursor_is_not_found(browser: Client, cursor: str) -> None:
    assert browser.get(address("all"), {"before": cursor}).status_code == 404


def test_texts_are_escaped(browser: Client, reader: User) -> None:
    notify(reader, "<script>alert(1)</script>", body="<img src=x onerror=alert(2)>")
    page = browser.get(address("all")).content
    assert b"<script>alert" not in page
    assert b"<img src=x" not in page
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_an_unsafe_url_in_the_table_is_no_link_in_the_inbox(browser: Client, reader: User) -> None:
    notify(reader, "Harmless")
    Notification.objects.update(url="javascript:alert(1)")
    page = browser.get(address("all")).content
    assert b"Harmless" in page
    assert b"javascript:" not in page


def test_a_full_page_takes_at_most_thirty_queries(
    browser: Client, reader: User, writer: User, django_assert_max_num_queries
) -> None:
    for number in range(PAGE_SIZE):
        notify(reader, f"Number {number}", actor=writer)
    browser.get(address("all"))
    with django_assert_max_num_queries(30):
        browser.get(address("all"))


# Changes


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("mark_as_read", (False, False), (True, False)),
        ("mark_as_unread", (True, False), (False, False)),
        ("mark_as_unread", (True, True), (False, False)),
        ("archive", (False, False), (True, True)),
        ("delete", (False, False), (True, True)),
    ],
)
def test_a_change_affects_one_notification(
    browser: Client, reader: User, name: str, before, after
) -> None:
    ids = notify(reader, "This")
    notify(reader, "Another")
    if before[0]:
        inbox.mark_read(reader, ids)
    if before[1]:
        inbox.archive(reader, ids)
    response = browser.post(address(name, ids[0]))
    assert response.status_code == 302
    assert response.headers["Location"] == address("all")
    assert states(reader) == {"This": after, "Another": (False, False)}


@pytest.mark.parametrize(
    ("name", "after"), [("mark_all_as_read", (True, False)), ("archive_all", (True, True))]
)
def test_a_change_of_all_affects_one_user(browser: Client, reader: User, name: str, after) -> None:
    other = User.objects.create_user("other")
    notify([reader, other], "One")
    notify([reader, other], "Two")
    browser.post(address(name))
    assert states(reader) == {"One": after, "Two": after}
    assert states(other) == {"One": (False, False), "Two": (False, False)}


@pytest.mark.parametrize("name", ONE)
def test_p6_notifications_of_other_users_cannot_be_changed(browser: Client, name: str) -> None:
    other = User.objects.create_user("other")
    first, second = notify(other, "Unread"), notify(other, "Read")
    inbox.mark_read(other, second)
    before = states(other)
    for pk in (*first, *second):
        assert browser.post(address(name, pk)).status_code == 302
    assert states(other) == before


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("pk", [0, 10**6, 2**63 - 1, 2**63, 10**30])
def test_ids_without_a_notification_are_no_error(browser: Client, name: str, pk: int) -> None:
    assert browser.post(address(name, pk)).status_code == 302


def mutations() -> list[str]:
    return [*(address(name, 1) for name in ONE), *map(address, ALL)]


def test_changes_require_post(browser: Client) -> None:
    assert [browser.get(url).status_code for url in mutations()] == [405] * len(mutations())


def test_changes_require_the_csrf_token(reader: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(reader)
    assert [client.post(url).status_code for url in mutations()] == [403] * len(mutations())


def test_anonymous_changes_redirect_to_the_login(client: Client, reader: User) -> None:
    ids = notify(reader, "This")
    response = client.post(address("mark_as_read", ids[0]))
    assert response.status_code == 302
    # Not the view itself, which does not accept GET.
    assert response.headers["Location"] == f"{reverse('login')}?next={address('all')}"
    assert states(reader) == {"This": (False, False)}


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/notifications/unread/?before=x", "/notifications/unread/?before=x"),
        ("https://evil.example/", "/notifications/"),
        ("//evil.example/", "/notifications/"),
        ("javascript:alert(1)", "/notifications/"),
        ("", "/notifications/"),
    ],
)
def test_the_redirect_after_a_change_stays_on_this_site(
    browser: Client, target: str, url: str
) -> None:
    response = browser.post(address("mark_all_as_read"), {"next": target})
    assert response.headers["Location"] == url


# Topics


def topics(browser: Client) -> dict[str, bool]:
    """Map the slugs of the listed topics to whether they are shown as followed."""
    page = browser.get(address("topics")).content.decode()
    page = page.split("<notification-topics")[1].split("<template>")[0]
    rows = re.findall(r'data-channel="topic:([^"]+)"( data-followed)?>', page)
    return {slug: bool(followed) for slug, followed in rows}


def test_topics_are_joined_and_left_by_post(browser: Client, reader: User) -> None:
    assert topics(browser)["news"] is False
    response = browser.post(address("join_topic"), {"channel": "topic:news"})
    assert response.headers["Location"] == address("topics")
    assert topics(browser)["news"] is True
    response = browser.post(address("leave_topic"), {"channel": "topic:news"})
    assert response.headers["Location"] == address("topics")
    assert topics(browser)["news"] is False
    for name in ("join_topic", "leave_topic"):
        assert browser.get(address(name)).status_code == 405


@pytest.mark.parametrize("name", ["join_topic", "leave_topic"])
@pytest.mark.parametrize("channel", ["", "broadcast", "user:1", "topic:", "topic:a b", "\x00"])
def test_channels_that_are_no_topics_are_not_found(
    browser: Client, name: str, channel: str
) -> None:
    assert browser.post(address(name), {"channel": channel}).status_code == 404


def test_p6_an_unreadable_topic_is_not_joined(browser: Client, reader: User) -> None:
    values = {"channel": "topic:secret"}
    page = browser.post(address("join_topic"), values, follow=True).content.decode()
    assert "You may not read the topic “secret”." in page
    assert "secret" not in topics(browser)


def test_joining_too_many_topics_shows_an_error(browser: Client, settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news", "beta"], "MAX_TOPICS": 1}
    browser.post(address("join_topic"), {"channel": "topic:news"})
    values = {"channel": "topic:beta"}
    page = browser.post(address("join_topic"), values, follow=True).content.decode()
    assert "Leave another one first" in page
    assert topics(browser) == {"beta": False, "news": True}


def test_an_unreadable_topic_can_be_left(browser: Client, reader: User, settings: Any) -> None:
    inbox.join(reader, "topic:news")
    settings.NOTIFICATIONS = {}
    assert b"Not open to you now" in browser.get(address("topics")).content
    browser.post(address("leave_topic"), {"channel": "topic:news"})
    assert topics(browser) == {}
    assert b"There are no topics to follow." in browser.get(address("topics")).content


@pytest.mark.parametrize("name", ["topics", "join_topic", "leave_topic"])
def test_topics_require_a_login(client: Client, name: str) -> None:
    response = client.get(address(name)) if name == "topics" else client.post(address(name))
    assert response.status_code == 302
    assert response.headers["Location"].endswith(f"?next={address('topics')}")


# Pages


def test_pages_have_no_inline_scripts_or_styles(browser: Client, reader: User) -> None:
    notify(reader, "One")
    for url in (address("all"), address("topics")):
        page = browser.get(url).content.decode()
        assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
        assert re.findall(r"\sstyle=|\son[a-z]+=", page) == []


def test_pages_of_a_user_are_not_cached(browser: Client) -> None:
    for url in map(address, (*FOLDERS, "topics")):
        assert "no-store" in browser.get(url).headers["Cache-Control"]


@override_settings(DEBUG=False)
def test_a_missing_page_has_its_own_text(browser: Client) -> None:
    response = browser.get("/nothing/")
    assert response.status_code == 404
    assert b"There is no such page" in response.content
