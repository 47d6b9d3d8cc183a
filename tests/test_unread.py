"""Unread counts of many users at once agree with those of each alone."""

import random

import pytest
from django.test import override_settings

from notifications import broadcast, inbox, notify, subscriptions
from notifications.models import Notification
from notifications.publishing import withdraw
from notifications.unread import unread_counts
from tests.rooms import fill, make_old_users, queries

pytestmark = pytest.mark.django_db(transaction=True)


def counted(users):
    return unread_counts(users, subscriptions.load_inboxes(users))


@pytest.mark.parametrize("seed", range(8))
def test_counts_of_all_are_those_of_each(seed: int) -> None:
    chance = random.Random(seed)
    users = make_old_users(4)
    names = ["broadcast", *(f"user:{user.pk}" for user in users), "topic:news"]
    subscriptions.join([user.pk for user in users[:2]], "topic:news")
    for _ in range(60):
        user = chance.choice(users)
        ids = list(Notification.objects.values_list("pk", flat=True)) or [1]
        some = chance.sample(ids, min(3, len(ids)))
        chance.choice(
            [
                lambda: notify(user, "private"),  # noqa: B023 - called at once
                lambda: broadcast("to all"),
                lambda: broadcast("news", to="topic:news"),
                lambda: inbox.mark_read(user, some),  # noqa: B023
                lambda: inbox.mark_unread(user, some),  # noqa: B023
                lambda: inbox.archive(user, some),  # noqa: B023
                lambda: inbox.read_all(user),  # noqa: B023
                lambda: subscriptions.mute(user.pk, chance.choice(names), chance.random() < 0.5),  # noqa: B023
                lambda: withdraw(Notification.objects.filter(pk=some[0])),  # noqa: B023
            ]
        )()
    assert counted(users) == {user.pk: inbox.unread_count(user) for user in users}


def test_more_than_is_counted_is_counted_up_to_the_most() -> None:
    users = make_old_users(3)
    fill("broadcast", 12)
    with override_settings(NOTIFICATIONS={"MAX_UNREAD_COUNT": 5}):
        assert set(counted(users).values()) == {5}


def test_the_number_of_queries_does_not_depend_on_the_users() -> None:
    users = make_old_users(40)
    fill("broadcast", 3)
    notify(users, "private")
    subscriptions.load_inboxes(users)
    few = len(queries(lambda: counted(users[:2])))
    assert len(queries(lambda: counted(users))) == few
