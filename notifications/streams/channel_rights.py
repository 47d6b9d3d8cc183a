"""Who may do what in a channel of a namespace; see :mod:`notifications.namespaces` for the rights.

>>> may(user, "subscribe", "chat:7")
True
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, cast

from django.utils.module_loading import import_string

from ..host.permissions import ANSWER_TIMEOUT, Answers, Permissions
from ..host.questions import Undecided
from ..namespaces import AUTHENTICATED, SUBSCRIBERS, find_namespace


class Question(NamedTuple):
    """Whether a user has a right in a channel.

    Args:
        right: ``subscribe``, ``publish``, ``presence`` or ``history``.
        channel: name of a channel of a declared namespace.
    """

    right: str
    channel: str

    @property
    def rule(self) -> str:
        """What the namespace says about this right."""
        return str(getattr(find_namespace(self.channel), self.right))


def may(user: Any, right: str, channel: str, *, is_subscribed: bool = False) -> bool:
    """Return whether a user has a right in a channel of a namespace now.

    Args:
        user: the user as read from the database; an inactive one may do nothing.
        right: ``subscribe``, ``publish``, ``presence`` or ``history``.
        channel: name of the channel.
        is_subscribed: the connection that asks is subscribed to the channel.

    Raises:
        UnknownChannel: the channel belongs to no declared namespace.
        Undecided: the host's function takes longer than ``ANSWER_TIMEOUT``.
        DatabaseError: the host's function has failed because the app's database is down.
    """
    question = Question(right, channel)
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


def _ask_host(user: Any, question: Question) -> bool:
    function = cast("Callable[[Any, str], bool]", import_string(question.rule))
    return function(user, question.channel)


permissions = Permissions("A right in NAMESPACES", _ask_host)
