"""The topics that one user follows: joining and leaving them for good.

A device that unsubscribes on the wire only stops reading; what the user follows is decided here.
"""

from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied

from ..conf import app_settings
from ..streams import access, rights, subscriptions
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from .announcing import announce


class Topic(NamedTuple):
    """A topic as one user sees it.

    Args:
        channel: its name on the wire, such as ``topic:news``.
        is_followed: the user is subscribed to it.
        is_muted: without live pushes and unread count.
        is_readable: the user may read it now; what is not stays followed, but shows nothing.
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


def topics(user: Any) -> list[Topic]:
    """What the user follows, and what of ``TOPICS`` could be followed, by name."""
    muted = dict(subscriptions.topics_of(user.pk))
    offered = {stream_names.topic_stream(slug) for slug in app_settings.declared_topics}
    found = [
        Topic(name, name in muted, muted.get(name, False), access.may_read(user, name))
        for name in sorted(muted.keys() | offered)
    ]
    return [topic for topic in found if topic.is_followed or topic.is_readable]


def join(user: Any, name: str, origin: str = "") -> bool:
    """Let the user follow a topic from now on. On every device its notifications are listed.

    Args:
        user: a saved user.
        name: such as ``topic:news``.
        origin: the client that asks; the user's other connections are told.

    Returns:
        False when the user follows it already, and nothing has changed.

    Raises:
        ValueError: this is no topic.
        PermissionDenied: the user may not read it; see ``TOPICS`` and ``TOPIC_PERMISSION``.
        TooManyTopics: the user follows ``MAX_TOPICS``.
    """
    name = _topic(name)
    if not access.may_read(user, name):
        raise PermissionDenied(f"{name} may not be read")
    if stream_feeds.load_topic(user.pk, name) is not None:
        return False
    if subscriptions.topics(user.pk) >= app_settings.MAX_TOPICS:
        raise TooManyTopics(f"{app_settings.MAX_TOPICS} topics are followed already")
    subscriptions.join([user.pk], name)
    # Others may have joined for the same user since then: all of them see too many.
    if subscriptions.topics(user.pk) > app_settings.MAX_TOPICS:
        subscriptions.leave([user.pk], name)
        raise TooManyTopics(f"{app_settings.MAX_TOPICS} topics are followed already")
    announce(user, "join", origin=origin, channel=name)
    return True


def leave(user: Any, name: str, origin: str = "") -> bool:
    """End the user's subscription to a topic for good, on all devices and in the inbox.

    Connections that read it are told by an ``unsubscribe`` push with the reason "left".
    Following it again begins from then on.

    Args:
        user: a saved user.
        name: such as ``topic:news``.
        origin: the client that asks; the user's other connections are told.

    Returns:
        False when the user did not follow it.

    Raises:
        ValueError: this is no topic. All other streams follow from who the user is.
    """
    name = _topic(name)
    if not subscriptions.leave([user.pk], name):
        return False
    # In this order: who hears first what the count is now is told no second time.
    announce(user, "leave", origin=origin, channel=name)
    rights.changed([user.pk])
    return True


def _topic(name: str) -> str:
    kind, slug = stream_names.parse(name)
    if kind != "topic":
        raise ValueError(f"{name} is no topic")
    return stream_names.topic_stream(slug)
