"""Login throttling of the site and of the admin, by user name and address."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from pushsite.logins import client_address
from tests.rooms import make_user

pytestmark = pytest.mark.django_db

SITE, ADMIN = "/accounts/login/", "/admin/login/"
LIMIT = 3
HERE, THERE = "192.0.2.1", "198.51.100.9"


@pytest.fixture(autouse=True)
def limit(settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = LIMIT


@pytest.fixture
def ada() -> User:
    user: User = make_user("ada", is_staff=True)
    user.set_password("right")
    user.save()
    return user


def log_in(
    password: str, name: str = "ada", *, page: str = SITE, at: str = HERE, **headers: str
) -> Any:
    fields = {"username": name, "password": password}
    return Client().post(page, fields, REMOTE_ADDR=at, headers=headers)


@pytest.mark.parametrize("page", [SITE, ADMIN])
def test_too_many_wrong_passwords_lock_the_login(ada: User, page: str) -> None:
    for _ in range(LIMIT - 1):
        assert log_in("wrong", page=page).status_code == 200
    assert log_in("wrong", page=page).status_code == 429
    answer = log_in("right", page=page)
    assert answer.status_code == 429
    assert "Too many attempts" in answer.content.decode()
    assert "15 minutes" in answer.content.decode()
    assert answer["Retry-After"] == "900"
    assert "sessionid" not in answer.cookies


def test_attempts_at_the_site_and_at_the_admin_count_together(ada: User) -> None:
    for page in (SITE, ADMIN, SITE):
        last = log_in("wrong", page=page)
    assert last.status_code == 429


def test_attempts_from_another_address_lock_nobody_out(ada: User) -> None:
    for _ in range(LIMIT + 2):
        log_in("wrong", at=THERE)
    assert log_in("right", at=THERE).status_code == 429
    assert log_in("right", at=HERE).status_code == 302


def test_a_locked_user_locks_out_nobody_else_at_the_same_address(ada: User) -> None:
    for _ in range(LIMIT + 2):
        log_in("wrong", name="bob")
    assert log_in("wrong", name="bob").status_code == 429
    assert log_in("right").status_code == 302


def test_attempts_with_different_browsers_count_together(ada: User) -> None:
    for number in range(LIMIT):
        last = log_in("wrong", user_agent=f"browser {number}")
    assert last.status_code == 429


def test_a_successful_login_resets_the_count(ada: User) -> None:
    for _ in range(3):
        assert log_in("wrong").status_code == 200
        assert log_in("wrong").status_code == 200
        assert log_in("right").status_code == 302


def test_further_attempts_do_not_prolong_the_lock(ada: User) -> None:
    for _ in range(LIMIT):
        log_in("wrong")
    almost = timezone.now() - timedelta(minutes=14)
    AccessAttempt.objects.update(attempt_time=almost)
    assert log_in("wrong").status_code == 429
    AccessAttempt.objects.update(attempt_time=almost - timedelta(minutes=2))
    assert log_in("right").status_code == 302


def test_attempts_older_than_the_pause_are_deleted(ada: User) -> None:
    for number in range(5):
        log_in("wrong", name=f"nobody {number}")
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    log_in("wrong")
    assert AccessAttempt.objects.count() == 1


@pytest.mark.parametrize(
    "name", ["a" * 100_000, "ä" * 300, "a\x00b", "\ud800".encode("utf-8", "surrogatepass")]
)
@pytest.mark.parametrize("at", [HERE, "", "unix:", "not an address", "fe80::1%eth0"])
def test_unusual_names_and_addresses_are_answered(name: str, at: str) -> None:
    # Without NUL, because servers reject it in a header.
    headers = {"user_agent": "ä\x7f" * 500, "accept": "x" * 5000}
    assert log_in("wrong", name=name, at=at, **headers).status_code == 200


def test_submitted_names_and_passwords_are_not_stored_in_form_data(ada: User) -> None:
    log_in("a-wrong-password", page=f"{SITE}?next=/admin/")
    row = AccessAttempt.objects.get()
    assert "a-wrong-password" not in row.post_data
    assert "ada" not in row.post_data


@pytest.mark.parametrize(
    ("seen", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("", None),
        ("unix:", None),
    ],
)
def test_addresses_of_one_ipv6_network_count_as_one(seen: str, counted: str | None) -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=seen)) == counted
