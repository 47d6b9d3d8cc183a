"""Connecting clients are served together, each with what is its own."""

import pytest

from notifications import inbox, notify
from notifications.authentication import (
    Anonymous,
    Credentials,
    ExpiredToken,
    Identity,
    InvalidToken,
    make_token,
)
from notifications.connecting import Admitted, Returning, admit, resume
from notifications.models import Stream
from notifications.positions import Position
from tests.rooms import fill, make_old_users, queries

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def secret(settings):
    settings.NOTIFICATIONS = {"TOKEN_SECRET": "0123456789" * 4}


def test_each_caller_gets_his_own_answer() -> None:
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


def test_each_client_resumes_where_it_was() -> None:
    one, other = make_old_users(2)
    fill("broadcast", 5)
    notify([one, other], "private")
    epoch = Stream.objects.get(name="broadcast").epoch
    first, second = resume(
        [
            Returning(one, {"broadcast": Position(epoch, 3)}),
            Returning(other, {"broadcast": Position("another", 3)}),
        ]
    )
    pages = {item.feed.name: item for item in first.recovered}
    assert [entry.offset for entry in pages["broadcast"].page.publications] == [4, 5]
    assert [entry.offset for entry in pages[f"user:{one.pk}"].page.publications] == [1]
    lost = {item.feed.name: item for item in second.recovered}["broadcast"]
    assert (lost.recovered, lost.page.publications, lost.page.offset) == (False, [], 5)
    assert first.unread == inbox.unread_count(one)


def test_a_storm_costs_few_queries() -> None:
    users = make_old_users(60)
    fill("broadcast", 10)
    notify(users, "private")
    resume([Returning(user, {}) for user in users])
    callers = [Credentials("", make_token(user)) for user in users]
    assert len(queries(lambda: admit(callers))) <= 2
    assert len(queries(lambda: resume([Returning(user, {}) for user in users]))) <= 10
