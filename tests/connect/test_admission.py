"""Connecting clients are served together, and each gets its own data."""

from typing import Any

import pytest
from django.contrib.sessions.models import Session

from notifications import inbox, notify
from notifications.connect.admission import Admitted, Resumed, Returning, admit, resume
from notifications.connect.authentication import (
    Anonymous,
    Credentials,
    ExpiredToken,
    Identity,
    InvalidToken,
    Revoked,
    credentials_of,
    make_token,
)
from notifications.models import Stream
from notifications.streams.feeds import begin, read_inboxes
from notifications.streams.positions import Position
from tests.peers import log_in
from tests.rooms import fill, make_old_users, queries

pytestmark = pytest.mark.django_db(transaction=True)


def returning(user: Any, positions: dict[str, Position] | None = None) -> Returning:
    return Returning(Identity(user, credentials_of(user)), "", positions or {})


def have(*users: Any) -> None:
    """Create the rows that connecting users lack, as the hub does."""
    begin(read_inboxes(users).missing)


@pytest.fixture(autouse=True)
def secret(settings):
    settings.NOTIFICATIONS = {"TOKEN_SECRET": "0123456789" * 4}


def test_each_caller_gets_its_own_result() -> None:
    one, other = make_old_users(2)
    other.is_active = False
    other.save()
    found = admit(
        [
            Credentials("", make_token(one)),
            Credentials("", make_token(one, -5)),
            Credentials("", "forged"),
            Credentials("", make_token(other)),
            Credentials("", ""),
            Credentials("no such session", ""),
        ]
    )
    assert isinstance(found[0], Admitted)
    assert isinstance(found[0].identity, Identity)
    assert found[0].names == [f"user:{one.pk}", "broadcast"]
    kinds = [ExpiredToken, InvalidToken, InvalidToken, Anonymous, Anonymous]
    assert [type(entry) for entry in found[1:]] == kinds


def test_each_client_resumes_at_its_position() -> None:
    one, other = make_old_users(2)
    fill("broadcast", 5)
    notify([one, other], "private")
    have(one, other)
    epoch = Stream.objects.get(name="broadcast").epoch
    first, second = resume(
        [
            returning(one, {"broadcast": Position(epoch, 3)}),
            returning(other, {"broadcast": Position("another", 3)}),
        ]
    )
    assert isinstance(first, Resumed)
    assert isinstance(second, Resumed)
    pages = {item.feed.name: item for item in first.recovered}
    assert [entry.offset for entry in pages["broadcast"].page.publications] == [4, 5]
    assert [entry.offset for entry in pages[f"user:{one.pk}"].page.publications] == [1]
    lost = {item.feed.name: item for item in second.recovered}["broadcast"]
    assert (lost.recovered, lost.page.publications, lost.page.offset) == (False, [], 5)
    assert first.unread == inbox.unread_count(one)


def test_a_batch_of_60_connects_takes_few_queries() -> None:
    users = make_old_users(60)
    fill("broadcast", 10)
    notify(users, "private")
    have(*users)
    callers = [Credentials("", make_token(user)) for user in users]
    assert len(queries(lambda: admit(callers))) <= 2
    assert len(queries(lambda: resume([returning(user) for user in users]))) <= 12


def test_a_connect_writes_nothing_and_returns_the_missing_rows() -> None:
    (user,) = make_old_users(1)
    statements = queries(lambda: resume([returning(user)]))
    assert all(sql.startswith("SELECT") for sql in statements), statements
    (found,) = resume([returning(user)])
    assert isinstance(found, Resumed)
    assert found.missing == [(user.pk, f"user:{user.pk}"), (user.pk, "broadcast")]
    have(user)
    (found,) = resume([returning(user)])
    assert isinstance(found, Resumed)
    assert found.missing == []
    assert found.own is not None


def test_a_user_deactivated_after_authentication_does_not_connect() -> None:
    one, other, third = make_old_users(3)
    callers = [returning(user) for user in (one, other, third)]
    one.is_active = False
    one.save()
    other.set_password("another")
    other.save()
    have(third)
    found = resume(callers)
    assert [type(entry) for entry in found] == [Revoked, Revoked, Resumed]


def test_a_user_logged_out_after_authentication_does_not_connect() -> None:
    (user,) = make_old_users(1)
    have(user)
    key = log_in(user)
    (admitted,) = admit([Credentials(key, "")])
    assert isinstance(admitted, Admitted)
    caller = Returning(admitted.identity, key, {})
    assert [type(entry) for entry in resume([caller])] == [Resumed]
    Session.objects.all().delete()
    assert [type(entry) for entry in resume([caller])] == [Revoked]


def test_the_revision_is_read_before_the_rights() -> None:
    """A change in between shows as a different revision, so the hub checks the rights again."""
    (user,) = make_old_users(1)
    have(user)
    first = queries(lambda: resume([returning(user)]))[0]
    assert "revision" in first
