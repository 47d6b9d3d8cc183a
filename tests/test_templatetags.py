"""``{% load notifications %}`` in templates of any site."""

import json
import re
from html import unescape

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.urls import set_script_prefix

from notifications import broadcast, inbox, notify
from notifications.streams import subscriptions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reader() -> User:
    return User.objects.create_user("reader")


@pytest.fixture
def request_of(rf: RequestFactory, reader: User) -> HttpRequest:
    request = rf.get("/somewhere/")
    request.user = reader
    return request


def render(text: str, request: HttpRequest) -> str:
    return Template("{% load notifications %}" + text).render(Context({"request": request}))


def test_unread_counts_those_of_the_user_of_the_request(request_of, reader) -> None:
    other = User.objects.create_user("other")
    notify([reader, other], "For both")
    notify(other, "For the other")
    text = "{% notifications_unread as unread %}{{ unread }}"
    assert render(text, request_of) == "1"


def test_unread_is_asked_once_per_request(request_of, reader, django_assert_num_queries) -> None:
    notify(reader, "One")
    render("{% notifications_unread %}", request_of)
    with django_assert_num_queries(0):
        assert render("{% notifications_unread %}", request_of) == "1"


def test_count_of_one_request_is_not_that_of_another(rf, request_of, reader) -> None:
    notify(reader, "One")
    assert render("{% notifications_unread %}", request_of) == "1"
    inbox.read_all(reader)
    later = rf.get("/")
    later.user = reader
    assert render("{% notifications_unread %}", later) == "0"


@pytest.mark.parametrize(
    "tag", ["notification_bell", "live_notify_badge", "live_notify_list", "notifications_unread"]
)
def test_nobody_gets_nothing(rf: RequestFactory, tag: str) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    expected = "0" if tag == "notifications_unread" else ""
    assert render("{% " + tag + " %}", request) == expected


def test_bell_is_a_link_with_the_count_and_says_how_to_connect(request_of, reader) -> None:
    notify(reader, "One")
    bell = render("{% notification_bell %}", request_of)
    assert 'href="/notifications/" aria-label="Notifications, 1 unread"' in bell
    assert 'data-part="badge">1</span>' in bell
    assert 'data-notifications-socket="/connection/websocket"' in bell
    assert f'data-notifications-user="{reader.pk}"' in bell
    assert '<script type="module" src="/static/notifications/index.js">' in bell


def test_bell_has_no_inline_script_or_style(request_of) -> None:
    bell = render(
        "{% notification_bell %}{% live_notify_list %}{% live_notify_badge %}", request_of
    )
    assert "<script>" not in bell
    assert "style=" not in bell
    assert " onclick" not in bell


def test_socket_lies_below_the_prefix_of_the_site(request_of) -> None:
    set_script_prefix("/push/")
    try:
        bell = render("{% notification_bell %}", request_of)
    finally:
        set_script_prefix("/")
    assert 'data-notifications-socket="/push/connection/websocket"' in bell
    assert "&quot;emulation&quot;: &quot;/push/emulation&quot;" in bell
    assert 'href="/push/notifications/"' in bell


@override_settings(
    NOTIFICATIONS={
        "TRANSPORTS": {"websocket": None, "sse": "/live/sse", "streams": "/streams/"},
    }
)
def test_bell_says_where_the_transports_are_that_are_on(request_of) -> None:
    bell = unescape(render("{% notification_bell %}", request_of))
    assert 'data-notifications-socket="/connection/http_stream"' in bell
    found = re.search(r'data-notifications-transports="({.*?})"', bell)
    assert found is not None
    assert json.loads(found[1]) == {
        "http_stream": "/connection/http_stream",
        "sse": "/live/sse",
        "emulation": "/emulation",
    }


def test_bell_names_the_topics_of_the_user(request_of, reader) -> None:
    for topic in ("topic:news", "topic:beta", "topic:muted"):
        subscriptions.join([reader.pk], topic)
    inbox.mute(reader, "topic:muted")
    bell = render("{% notification_bell %}", request_of)
    assert 'data-notifications-topics="topic:beta topic:news"' in bell


def test_bell_names_no_topic_that_may_not_be_read(request_of, reader, settings) -> None:
    for topic in ("topic:news", "topic:beta"):
        subscriptions.join([reader.pk], topic)
    settings.NOTIFICATIONS = {"TOPICS": ["beta"]}
    bell = render("{% notification_bell %}", request_of)
    assert 'data-notifications-topics="topic:beta"' in bell


@pytest.mark.parametrize(("count", "shown"), [(0, "hidden></"), (99, ">99</"), (100, ">99+</")])
def test_badge(request_of, reader, count: int, shown: str) -> None:
    for number in range(count):
        broadcast(f"Number {number}")
    badge = render('{% live_notify_badge badge_class="mine" %}', request_of)
    assert f"{shown}notification-badge>" in badge
    assert 'class="mine"' in badge


def test_list_shows_the_newest_unread(request_of, reader) -> None:
    (old,) = notify(reader, "Old and read")
    inbox.mark_read(reader, [old])
    for number in range(3):
        notify(reader, f"Number {number}")
    shown = render('{% live_notify_list list_class="mine" limit=2 %}', request_of)
    assert 'class="notification-entries mine"' in shown
    assert "Number 2" in shown
    assert "Number 1" in shown
    assert "Number 0" not in shown
    assert "Old and read" not in shown


def test_text_is_only_text(request_of, reader) -> None:
    evil = "<script>alert(1)</script>\"'"
    sender = User.objects.create_user("sender", first_name=evil)
    notify(reader, evil, body=evil, actor=sender)
    shown = render("{% live_notify_list %}", request_of)
    assert "<script>alert" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;") >= 3


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("/orders/7/?a=1&b=2", "/orders/7/?a=1&amp;b=2"),
        ("https://a.example/", "https://a.example/"),
        ("javascript:alert(1)", ""),
        ("//evil.example", ""),
        ("", ""),
    ],
)
def test_links_are_checked_whatever_wrote_them(request_of, url: str, link: str) -> None:
    shown = Template("{% load notifications %}{{ url|notification_link }}").render(
        Context({"url": url})
    )
    assert shown == link


def test_without_a_request_the_user_counts(reader) -> None:
    notify(reader, "One")
    template = Template("{% load notifications %}{% notifications_unread %}")
    assert template.render(Context({"user": reader})) == "1"


OLD_TAGS = "{% load notifications_tags %}"


def test_old_templates_load_their_tags(request_of, reader) -> None:
    notify(reader, "One")
    shown = render(
        OLD_TAGS + "{% notifications_unread as n %}{{ n }}{% live_notify_badge %}"
        "{% live_notify_list %}{% register_notify_callbacks callbacks='a,b' fetch=3 %}",
        request_of,
    )
    assert shown.startswith("1")
    assert 'class="live_notify_badge"' in shown
    assert "live_notify_list" in shown
    assert "One" in shown
    assert "/static/notifications/index.js" in shown
    assert "<script>" not in shown


def test_old_tags_take_their_arguments_by_place_too(request_of, reader) -> None:
    shown = render(
        OLD_TAGS + "{% live_notify_badge 'mine' %}{% live_notify_list 'also' %}"
        "{% register_notify_callbacks 'mine' 'also' 15 'a,b' 'list' 5 %}",
        request_of,
    )
    assert 'class="mine"' in shown
    assert "also" in shown
    assert "/static/notifications/index.js" in shown


def test_old_tags_show_nobody_nothing(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    text = "{% notifications_unread %}{% live_notify_badge %}{% live_notify_list %}"
    assert render(OLD_TAGS + text, request) == ""


def test_old_filter_tells_whether_there_is_something(request_of, reader) -> None:
    text = OLD_TAGS + "{% if request.user|has_notification %}yes{% else %}no{% endif %}"
    assert render(text, request_of) == "no"
    notify(reader, "One")
    assert render(text, request_of) == "yes"
