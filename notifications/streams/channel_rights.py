"""Who may do what in a channel of a namespace; see :mod:`notifications.namespaces` for the rights.

>>> may(user, "subscribe", "chat:7")
True
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from inspect import signature
from typing import Any, NamedTuple, cast

import msgspec
from django.utils.module_loading import import_string

from ..host.permissions import ANSWER_TIMEOUT, Answers, Permissions
from ..host.questions import Undecided
from ..namespaces import AUTHENTICATED, SUBSCRIBERS, find_namespace


class Question(NamedTuple):
    """Whether a user has a right in a channel.

    Args:
        right: ``subscribe``, ``publish``, ``presence`` or ``history``.
        channel: name of a channel of a declared namespace.
        data: JSON that a client sends with ``subscribe``; b"" for none.
    """

    right: str
    channel: str
    data: bytes = b""

    @property
    def rule(self) -> str:
        """What the namespace says about this right."""
        return str(getattr(find_namespace(self.channel), self.right))


def may(
    user: Any, right: str, channel: str, *, is_subscribed: bool = False, data: bytes = b""
) -> bool:
    """Return whether a user has a right in a channel of a namespace now.

    Args:
        user: the user as read from the database; an inactive one may do nothing.
        right: ``subscribe``, ``publish``, ``presence`` or ``history``.
        channel: name of the channel.
        is_subscribed: the connection that asks is subscribed to the channel.
        data: JSON that a client sends with ``subscribe``; b"" for none.

    Raises:
        UnknownChannel: the channel belongs to no declared namespace.
        Undecided: the host's function takes longer than ``ANSWER_TIMEOUT``.
        DatabaseError: the host's function has failed because the app's database is down.
    """
    question = Question(right, channel, data)
    if question.rule == SUBSCRIBERS:
        return bool(user.is_active) and is_subscribed
    answers = decide([(user, [question])], ANSWER_TIMEOUT)
    if user.pk in answers.undecided:
        raise Undecided(answers.undecided[user.pk])
    return answers.allowed[user.pk][question]


def decide(
    wanted: Sequence[tuple[Any, Collection[Question]]], patience: float
) -> Answers[Question]:
    """Decide these questions, as if no client were subscribed.

    A function of the host that raises or hangs means no, for this user and this question.

    Args:
        wanted: pairs of a user and questions.
        patience: seconds that a thread of a lane waits for the host's functions together.

    Raises:
        UnknownChannel: a channel belongs to no declared namespace.
        DatabaseError: a function has failed because the app's database is down.
    """
    allowed: dict[Any, dict[Question, bool]] = defaultdict(dict)
    asked: list[tuple[Any, list[Question]]] = []
    for user, questions in wanted:
        allowed[user.pk] |= {one: user.is_active and one.rule == AUTHENTICATED for one in questions}
        if user.is_active and (mine := [one for one in questions if "." in one.rule]):
            asked.append((user, mine))
    answers = permissions.ask(asked, patience)
    for pk in answers.undecided:
        del allowed[pk]
    for pk, found in answers.allowed.items():
        allowed[pk] |= found
    return Answers(dict(allowed), answers.undecided)


def subscribing_takes_data(channel: str) -> bool:
    """Return whether the function that decides who may subscribe has a parameter ``data``."""
    rule = Question("subscribe", channel).rule
    try:
        return "." in rule and _takes_data(import_string(rule))
    except Exception:  # the question itself reports what is wrong with the host's function
        return False


def _ask_host(user: Any, question: Question) -> bool:
    function = cast("Callable[..., bool]", import_string(question.rule))
    if not _takes_data(function):
        return function(user, question.channel)
    data = msgspec.json.decode(question.data) if question.data else None
    return function(user, question.channel, data=data)


def _takes_data(function: Callable[..., bool]) -> bool:
    return "data" in signature(function).parameters


permissions = Permissions("A right in NAMESPACES", _ask_host)
