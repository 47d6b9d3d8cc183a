"""Queries the rights and read state of users whose rights or read state may have changed (P6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from django.db.models import Q

from ..connect.authentication import active_users, credentials_of, valid_sessions
from ..inbox.counts import streams_counted, unread_counts
from ..models import Connection as Row
from ..protocol.codes import FORCE_NO_RECONNECT, Disconnect
from ..streams import channel_rights
from ..streams.channel_rights import Question
from ..streams.feeds import BULK_ANSWER_TIMEOUT, Feed, read_inboxes
from ..streams.names import is_topic
from ..streams.subscriptions import topics_of

#: Reasons of ``unsubscribe`` pushes.
DENIED = "permission denied"
LEFT = "left"
MUTED = "muted"


#: Rights in channels of namespaces.
READ, SEE = "subscribe", "presence"


class Subscribed(NamedTuple):
    """What clients of one user in this process have subscribed to themselves.

    ``channels`` leaves out those for which a client has a token, and has the data that clients have
    sent for the function which decides. In the channels of ``watched``, a
    client asks to be told who joins and leaves.
    """

    topics: set[str]
    channels: set[Question]
    watched: set[str]


class Verdict(NamedTuple):
    """The rights and read state of one user, as read from the database."""

    credentials: str
    feeds: dict[str, Feed]
    #: Names of the topics that the user follows, may read and has not muted.
    topics: set[str]
    #: Why a stream is in neither ``feeds`` nor ``topics``, by name.
    reasons: dict[str, str]
    unread: int | None
    #: Which streams ``unread`` counts; see :func:`notifications.inbox.counts.streams_counted`.
    counted: int
    #: Topics and channels for which it is not known yet whether the user may read them.
    undecided: AbstractSet[str] = frozenset()
    #: The questions about reading a channel of a namespace whose answer is yes.
    channels: AbstractSet[Question] = frozenset()
    #: Channels whose presence the user may not see, among those that were asked for.
    hidden: AbstractSet[str] = frozenset()

    def reason(self, name: str) -> str:
        """Return why the user's connections are unsubscribed from this stream."""
        return self.reasons.get(name, LEFT if is_topic(name) else DENIED)


class Findings(NamedTuple):
    verdicts: dict[Any, Verdict]
    sessions: set[str]
    #: How to close the connections that an administrator or a backend closes, by client id.
    closing: dict[str, Disconnect]
    #: When connections expire that a backend has limited: Unix times in seconds, by client id.
    expiring: dict[str, int]
    #: Pairs of user and stream name without a subscription row.
    missing: list[tuple[Any, str]]


def find(
    user_ids: Iterable[Any],
    keys: Iterable[str],
    clients: Iterable[str],
    count: bool,
    subscribed: Mapping[Any, Subscribed],
) -> Findings:
    """Read the rights and read state of users.

    Args:
        user_ids: primary keys of the users.
        keys: keys of the sessions that authenticated their connections.
        clients: client ids of their connections.
        count: whether to count their unread notifications too.
        subscribed: what they read in this process, by user.

    Returns:
        A verdict for each active user, the valid session keys, the connections that an
        administrator or a backend closes, and the missing subscription rows.
    """
    users = active_users(user_ids)
    feeds, missing, undecided = read_inboxes(users.values())
    unread = unread_counts(users.values(), feeds) if count else {}
    verdicts = {
        user_id: _verdict(
            user,
            feeds[user_id],
            unread.get(user_id),
            subscribed[user_id].topics if user_id in subscribed else frozenset(),
        )
        for user_id, user in users.items()
    }
    for user_id, names in undecided.items():
        # The count does not include these topics.
        verdicts[user_id] = verdicts[user_id]._replace(undecided=set(names), unread=None)
    _add_channels(verdicts, users, subscribed)
    return Findings(verdicts, valid_sessions(keys), *_ending(clients), missing)


def _ending(clients: Iterable[str]) -> tuple[dict[str, Disconnect], dict[str, int]]:
    """Return how to close connections, and when they expire, as their rows say."""
    closing: dict[str, Disconnect] = {}
    expiring: dict[str, int] = {}
    is_marked = Q(closing=True) | Q(expires_at__isnull=False)
    rows = Row.objects.filter(is_marked, pk__in=list(clients))
    for row in rows.only("closing", "close_code", "close_reason", "expires_at"):
        if row.closing:
            code, reason = row.close_code, row.close_reason
            closing[str(row.pk)] = Disconnect(code, reason) if code else FORCE_NO_RECONNECT
        elif row.expires_at is not None:
            expiring[str(row.pk)] = int(row.expires_at.timestamp())
    return closing, expiring


def _add_channels(
    verdicts: dict[Any, Verdict], users: Mapping[Any, Any], subscribed: Mapping[Any, Subscribed]
) -> None:
    """Add to the verdicts which channels of namespaces the users may read, and see into."""
    asked = {
        pk: questions for pk in users if pk in subscribed and (questions := _ask(subscribed[pk]))
    }
    wanted = [(users[pk], questions) for pk, questions in asked.items()]
    answers = channel_rights.decide(wanted, BULK_ANSWER_TIMEOUT)
    for pk, questions in asked.items():
        verdict, allowed = verdicts[pk], answers.allowed.get(pk, {})
        pending = {one.channel for one in questions if one not in allowed}
        verdicts[pk] = verdict._replace(
            channels={one for one, yes in allowed.items() if yes and one.right == READ},
            undecided={*verdict.undecided, *pending},
            hidden={one.channel for one, yes in allowed.items() if not yes and one.right == SEE},
        )


def _ask(subscribed: Subscribed) -> list[Question]:
    """What to ask about a user's channels; no other rule than a function changes its answer."""
    watching = [Question(SEE, name) for name in subscribed.watched]
    return [
        *subscribed.channels,
        *(question for question in watching if "." in question.rule),
    ]


def _verdict(
    user: Any, feeds: Sequence[Feed], unread: int | None, read: AbstractSet[str]
) -> Verdict:
    loud = [feed for feed in feeds if not feed.muted]
    reasons = {feed.name: MUTED for feed in feeds if feed.muted}
    topics = {feed.name for feed in loud if is_topic(feed.name)}
    if read - topics - reasons.keys():
        # Still followed but not readable, or left? Only then is another query needed.
        denied = {name: DENIED for name, _ in topics_of(user.pk) if name not in topics}
        reasons = denied | reasons
    return Verdict(
        credentials_of(user),
        {feed.name: feed for feed in loud if not is_topic(feed.name)},
        topics,
        reasons,
        unread,
        streams_counted(feeds),
    )
