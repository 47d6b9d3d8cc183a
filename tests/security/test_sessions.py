"""Sessions that were planted, ended or combined with tokens open no foreign streams (P6)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from notifications import notify
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub
from tests.peers import Peer, log_in
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def user() -> Any:
    def make() -> Any:
        made = make_user()
        made.set_password("reader")
        made.save()
        return made

    return await in_database(make)


def log_in_by_form(browser: Client, **more: str) -> str:
    """Log in by the form, and return the session key."""
    fields = {"username": "reader", "password": "reader", **more}
    assert browser.post(reverse("login"), fields).status_code == 302
    return str(browser.cookies["sessionid"].value)


async def error_with(key: str) -> int:
    """Connect with this session key, and return the code of the error."""
    peer = await Peer(cookie=f"sessionid={key}").open()
    return await peer.error(connect={})


def plant(make_session: Callable[[Client], None]) -> tuple[str, str]:
    """Log in over an existing session, and return the keys of both sessions."""
    browser = Client()
    make_session(browser)
    planted = str(browser.cookies["sessionid"].value)
    return planted, log_in_by_form(browser)


def visit(browser: Client) -> None:
    """Start an anonymous session, as an attacker does to plant it."""
    session = browser.session
    session["seen"] = True
    session.save()


def invent(browser: Client) -> None:
    browser.cookies["sessionid"] = "attacker" * 4


def be_somebody_else(browser: Client) -> None:
    browser.force_login(make_user("attacker"))


@pytest.mark.parametrize("make_session", [visit, invent, be_somebody_else])
async def test_a_planted_session_is_not_authenticated_by_a_login(
    hub: Hub, user: Any, make_session: Callable[[Client], None]
) -> None:
    planted, key = await in_database(plant, make_session)
    assert planted != key
    assert await error_with(planted) == 101
    result = await Peer(cookie=f"sessionid={key}").connect()
    assert result["data"]["user"]["id"] == str(user.pk)


async def test_a_socket_opened_before_the_login_is_anonymous(hub: Hub, user: Any) -> None:
    browser = Client()
    await in_database(visit, browser)
    key = browser.cookies["sessionid"].value
    early = await Peer(cookie=f"sessionid={key}").open()
    await in_database(log_in_by_form, browser)
    assert await early.error(connect={}) == 101


async def test_a_session_is_useless_after_logout(hub: Hub, user: Any) -> None:
    browser = Client()
    key = await in_database(log_in_by_form, browser)
    peer = Peer(cookie=f"sessionid={key}")
    await peer.connect()
    await in_database(browser.post, reverse("logout"))
    await peer.wait_closed()
    await in_database(notify, user, "private")
    assert await error_with(key) == 101
    assert peer.titles == []


async def test_a_valid_session_does_not_make_up_for_a_forged_token(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    peer = Peer(cookie=f"sessionid={key}", token="forged")
    await peer.open()
    peer.ask(connect=peer.connect_request())
    assert await peer.wait_closed() == 3500


async def test_a_token_takes_precedence_over_a_session(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    other = await in_database(make_user, "other")
    token = await in_database(make_token, other)
    peer = Peer(cookie=f"sessionid={key}", token=token)
    result = await peer.connect()
    assert set(result["subs"]) == {f"user:{other.pk}", "broadcast"}
    # The session's user has no influence on what the socket receives.
    await in_database(notify, user, "private")
    await in_database(notify, other, "mine")
    await peer.wait_for("mine")


async def test_session_keys_and_tokens_are_not_interchangeable(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    token = await in_database(make_token, user)
    peer = Peer(token=key)
    await peer.open()
    peer.ask(connect=peer.connect_request())
    assert await peer.wait_closed() == 3500
    assert await error_with(token) == 101
