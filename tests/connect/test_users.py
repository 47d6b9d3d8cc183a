"""Reading users by primary key."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import UserManager
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.connect.users import read_users
from tests.rooms import make_user

pytestmark = pytest.mark.django_db


def columns(user: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(user).items() if name != "_state"}


def test_users_are_read_as_their_manager_reads_them() -> None:
    people = [make_user("ada"), make_user("bob"), make_user("eve")]
    wanted = [people[0].pk, people[2].pk, 10**9]
    found = read_users(wanted)
    expected = get_user_model()._default_manager.in_bulk(wanted)
    assert {key: columns(user) for key, user in found.items()} == {
        key: columns(user) for key, user in expected.items()
    }
    user = found[people[0].pk]
    assert (user._state.db, user._state.adding) == (connection.alias, False)
    assert not user.get_deferred_fields()


def test_any_number_of_users_takes_one_query() -> None:
    user = make_user()
    with CaptureQueriesContext(connection) as queries:
        assert list(read_users([user.pk, *range(10**6, 10**6 + 2000)])) == [user.pk]
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        assert read_users([]) == {}
    assert len(queries) == 0


def test_a_manager_of_the_project_decides_each_time_who_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada, bob = make_user("ada"), make_user("bob")
    hidden = {"bob"}

    class Visible(UserManager[Any]):
        def get_queryset(self) -> Any:
            return super().get_queryset().exclude(username__in=hidden)

    manager = get_user_model()._default_manager
    monkeypatch.setattr(manager, "__class__", Visible)
    assert set(read_users([ada.pk, bob.pk])) == {ada.pk}
    hidden.clear()
    hidden.add("ada")
    assert set(read_users([ada.pk, bob.pk])) == {bob.pk}
