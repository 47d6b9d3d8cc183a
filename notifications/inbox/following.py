"""The topics that a user follows: list, join and leave them.

A client that unsubscribes on the wire only stops reading. The user goes on following the topic
until :func:`leave` is called.
"""

from typing import NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied

from ..conf import app_settings
from ..options import Reader
from ..streams import access, rights, subscriptions
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from .announcing import announce


class Topic(NamedTuple):
    """A topic as one user sees it.

    Args:
        channel: its name on the wire, such as ``topic:news``.
        is_followed: the user is subscribed to it.
        is_muted: it has no live pushes and no unread count.
        is_readable: the user may read it now. An unreadable topic can be followed, but shows
            nothing.
    """

    channel: str
    is_followed: bool
    is_muted: bool
    is_readable: bool

    @property
    def slug(self) -> str:
        return stream_names.parse(self.channel).key


class TooManyTopics(ValueError):
    """The user follows as many topics as ``MAX_TOPICS`` allows."""


def topics(user: Reader) -> list[Topic]:
    """List the topics that the user follows, and those of ``TOPICS`` to follow, by name."""
    muted = dict(subscriptions.topics_of(user.pk))
    offered = {stream_names.topic_stream(slug) for slug in app_settings.declared_topics}
    found = [
        Topic(name, name in muted, muted.get(name, False), access.may_read(user, name))
        for name in sorted(muted.keys() | offered)
    ]
    return [topic for topic in found if topic.is_followed or topic.is_readable]


def join(user: AbstractBaseUser, name: str, origin: str = "") -> bool:
    """Let the user follow a topic from now on. All devices list its new notifications.

    Args:
        user: a saved user.
        name: such as ``topic:news``.
        origin: client id of the connection that makes the change. The user's other connections
            are notified.

    Returns:
        False if the user follows it already; nothing changes then.

    Raises:
        ValueError: ``name`` is not that of a topic.
        PermissionDenied: the user may not read it; see ``TOPICS`` and ``TOPIC_PERMISSION``.
        TooManyTopics: the user follows ``MAX_TOPICS`` topics already.
    """
    name = _topic(name)
    if not access.may_read(user, name):
        raise PermissionDenied(f"{name} may not be read")
    if stream_feeds.load_topic(user.pk, name) is not None:
        return False
    if subscriptions.topics(user.pk) >= app_settings.MAX_TOPICS:
        raise TooManyTopics(f"{app_settings.MAX_TOPICS} topics are followed already")
    subscriptions.join([user.pk], name)
    # Other requests may have joined topics for this user since the first count. Each counts
    # again after joining, so the limit holds.
    if subscriptions.topics(user.pk) > app_settings.MAX_TOPICS:
        subscriptions.leave([user.pk], name)
        raise TooManyTopics(f"{app_settings.MAX_TOPICS} topics are followed already")
    announce(user, "join", origin=origin, channel=name)
    return True


def leave(user: AbstractBaseUser, name: str, origin: str = "") -> bool:
    """End the user's subscription to a topic for good, on all devices and in the inbox.

    Connections that read it get an ``unsubscribe`` push with the reason "left". A user who
    follows the topic again does not see what was published before.

    Args:
        user: a saved user.
        name: such as ``topic:news``.
        origin: client id of the connection that makes the change. The user's other connections
            are notified.

    Returns:
        False if the user does not follow it.

    Raises:
        ValueError: ``name`` is not that of a topic. Users cannot leave other streams.
    """
    name = _topic(name)
    if not subscriptions.leave([user.pk], name):
        return False
    # In this order: a connection that knows the new unread count is not sent it again.
    announce(user, "leave", origin=origin, channel=name)
    rights.changed([user.pk])
    return True


def _topic(name: str) -> str:
    kind, slug = stream_names.parse(name)
    if kind != "topic":
        raise ValueError(f"{name} is not a topic")
    return stream_names.topic_stream(slug)
