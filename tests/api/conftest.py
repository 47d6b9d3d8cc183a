"""Fixtures of the tests of the HTTP APIs."""

from collections.abc import Iterator
from typing import Any

import pytest

from notifications.api.rest.limits import limits
from tests.api.callers import SECRET, App
from tests.rooms import make_user


@pytest.fixture(autouse=True)
def _every_test_begins_with_full_buckets() -> Iterator[None]:
    limits.clear()
    yield
    limits.clear()


@pytest.fixture
def tokens(settings: Any) -> None:
    """Let the site make and take connection tokens."""
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "TOKEN_SECRET": SECRET}


@pytest.fixture
def user() -> Any:
    return make_user("ada", first_name="Ada")


@pytest.fixture
def app(user: Any) -> App:
    """The app of ``user``, in a session."""
    return App.in_session_of(user)
