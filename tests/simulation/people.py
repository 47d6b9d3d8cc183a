"""Users and their rights: accounts, groups, sessions, tokens and topics.

Every change goes through Django's own models and signals, as in a view of a site.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model, logout
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from notifications.connect.authentication import make_token
from notifications.streams import rights
from tests.peers import log_in

from .database import Database
from .process import Process

TOPICS = ("news", "sport")

#: Lifetime of a short-lived token in seconds.
LIFETIME = 12.0


class Credentials(NamedTuple):
    """The credentials of a client: a token or a session key; the other one is empty."""

    token: str = ""
    session: str = ""


class TopicRules:
    """The answers of ``TOPIC_PERMISSION``."""

    def __init__(self) -> None:
        self.denied: set[tuple[int, str]] = set()
        #: Users for whom it raises an exception, which counts as a refusal.
        self.raising: set[int] = set()

    def allows(self, user_id: int, slug: str) -> bool:
        return user_id not in self.raising and (user_id, slug) not in self.denied


topic_rules = TopicRules()


def may_read_topic(user: Any, slug: str) -> bool:
    """The ``TOPIC_PERMISSION`` of the simulated site."""
    if user.pk in topic_rules.raising:
        raise RuntimeError("a permission that raises")
    return topic_rules.allows(user.pk, slug)


class People:
    """The users of a run.

    Args:
        web: the process in which views run.
        then: called with a callback and its argument when a view has ended.
    """

    def __init__(self, web: Process, database: Database, chance: Random, then: Callable[..., None]):
        self._web = web
        self._database = database
        self._chance = chance
        self._then = then
        topic_rules.__init__()  # type: ignore[misc]
        with database.calm():
            users = get_user_model().objects
            self.ids = [
                users.create(username=f"user{n}", is_staff=n == 0, password="none").pk
                for n in range(5)
            ]
            self.groups = [Group.objects.create(name=f"group{n}").pk for n in range(2)]
            for number, user_id in enumerate(self.ids[:4]):
                self.user(user_id).groups.add(self.groups[number % 2])

    def user(self, user_id: int) -> Any:
        return get_user_model().objects.get(pk=user_id)

    def ask(self, done: Callable[[Any], None] | None, view: Callable[..., Any], *args: Any) -> None:
        """Run a view, and pass its result to ``done``, or None if the view raises."""

        async def work() -> None:
            try:
                result = await run_view(view, *args)
            except Exception:  # the user sees an error page
                result = None
            if done is not None:
                self._then(done, result)

        self._web.spawn(work())

    # Views

    def log_in(self, user_id: int, by_session: bool, lifetime: float | None) -> Credentials | None:
        user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
        if user is None:
            return None
        if by_session:
            return Credentials(session=log_in(user))
        return Credentials(token=make_token(user, lifetime))

    def create(self) -> int:
        users = get_user_model().objects
        user = users.create(username=f"user{users.count()}", password="none")
        self.ids.append(user.pk)
        return int(user.pk)

    def log_out(self, session: str) -> None:
        request = HttpRequest()
        request.session = SessionStore(session)
        request.user = get_user_model().objects.get(pk=request.session["_auth_user_id"])
        logout(request)

    def change_password(self, user_id: int) -> None:
        user = self.user(user_id)
        user.set_password(f"secret {self._chance.random()}")
        user.save()

    def set_active(self, user_id: int, is_active: bool) -> None:
        user = self.user(user_id)
        user.is_active = is_active
        user.save()

    def set_staff(self, user_id: int, is_staff: bool) -> None:
        user = self.user(user_id)
        user.is_staff = is_staff
        user.save()

    def set_member(self, user_id: int, group: int, is_member: bool) -> None:
        groups = self.user(user_id).groups
        (groups.add if is_member else groups.remove)(group)

    def topic_changed(self, user_id: int) -> None:
        rights.changed([user_id])

    def heal(self) -> None:
        topic_rules.raising.clear()

    # The state of the tables

    def readable(self) -> dict[int, frozenset[str]]:
        """Return the channels that each user may read, according to the tables and the rules."""
        with self._database.calm():
            return {
                user.pk: frozenset(_channels(user))
                for user in get_user_model().objects.prefetch_related("groups").order_by("pk")
            }

    def is_valid(self, user_id: int, credentials: Credentials, password: str) -> bool:
        """Return whether these credentials are still valid."""
        with self._database.calm():
            user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
            if user is None:
                return False
            # Both kinds become invalid when the password changes. The lifetime of a token is not
            # checked here.
            is_same = bool(user.password == password)
            return is_same and (
                not credentials.session or SessionStore().exists(credentials.session)
            )

    def password(self, user_id: int) -> str:
        with self._database.calm():
            return str(get_user_model().objects.values_list("password", flat=True).get(pk=user_id))


def cookie(credentials: Credentials) -> list[tuple[bytes, bytes]]:
    """Return the headers of a handshake with these credentials."""
    if not credentials.session:
        return []
    return [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={credentials.session}".encode())]


def _channels(user: Any) -> list[str]:
    if not user.is_active:
        return []
    names = [f"user:{user.pk}", "broadcast"]
    if user.is_staff:
        names.append("staff")
    names += [f"group:{group.pk}" for group in user.groups.all()]
    return names + [f"topic:{slug}" for slug in TOPICS if topic_rules.allows(user.pk, slug)]


async def run_view(view: Callable[..., Any], *args: Any) -> Any:
    """Run a view as a site does: in a thread, where it may use the ORM."""
    return await asyncio.get_running_loop().run_in_executor(None, lambda: view(*args))
