"""Channels of namespaces: subscription tokens, rows, and a page for a reader over HTTP."""

from typing import Any

from ..conf import app_settings
from ..protocol import codes
from ..protocol.codes import ClientError
from ..streams import revisions
from ..streams import rows as stream_rows
from ..streams.channel_rights import may
from ..streams.feeds import Feed, load_channel, load_topic
from ..streams.names import user_stream
from ..streams.recovery import recover
from . import authentication
from .reading import BEGINNING, Found, Unprepared, Wanted, start_of
from .tokens import ExpiredToken, SubscriptionClaims, read_subscription_token

#: CPU seconds that a user is charged for the first subscription to a channel, which creates a row.
NEW_CHANNEL_WORK = 0.05


def claims_of(token: str, user_id: Any, channel: str) -> SubscriptionClaims:
    """Return the claims of a subscription token, which must be for this user and this channel.

    Raises:
        ClientError: TOKEN_EXPIRED, or PERMISSION_DENIED for any other token.
    """
    claims = read_subscription_token(token)
    if isinstance(claims, ExpiredToken):
        raise ClientError(codes.TOKEN_EXPIRED)
    if isinstance(claims, SubscriptionClaims) and (
        (claims.user_id, claims.channel) == (str(user_id), channel)
    ):
        return claims
    raise ClientError(codes.PERMISSION_DENIED, "invalid token")


def open_channel(name: str) -> tuple[Feed, bool]:
    """Return the feed of a channel of a durable namespace, and whether its row was created now.

    Raises:
        ClientError: INTERNAL, because the row was pruned at once. A retry helps.
    """
    feed = load_channel(name)
    if feed is not None:
        return feed, False
    stream_rows.ensure([name])
    feed = load_channel(name)
    if feed is None:
        raise ClientError(codes.INTERNAL)
    return feed, True


def may_begin(user: Any, name: str) -> bool:
    """May a subscriber read a channel from its very beginning?

    Whoever has a position of the channel goes on from there by the right to subscribe alone.
    """
    return may(user, "history", name, is_subscribed=True)


def read_channel(wanted: Wanted, *, by_token: bool) -> tuple[Found, bool]:
    """Read a page of a channel of a durable namespace for one reader. Rights are read again.

    It may wait for functions of the host, so it is not for many readers at once as
    :func:`.reading.read_pages` is.

    Args:
        wanted: ``name`` is that of the channel. The beginning needs the right ``history`` too,
            for which the reader counts as a subscriber.
        by_token: a subscription token lets the user subscribe.

    Returns:
        The page, and whether the channel's row was created now.

    Raises:
        Revoked: the user may not log in any more, or has logged out.
        Unprepared: the user's own stream is missing. It carries the hints about rights.
        Undecided: a function of the host has not answered yet.
        ClientError: PERMISSION_DENIED, or INTERNAL for a channel that was pruned at once.
    """
    user_id, name = wanted.identity.user.pk, wanted.name
    # The revision before the user, so that a later change shows as a different revision.
    marks = revisions.of_users([user_id])
    [identity] = authentication.confirm([(wanted.identity, wanted.session_key)])
    if isinstance(identity, Exception):
        raise identity
    user = identity.user
    if not by_token and not may(user, "subscribe", name):
        raise ClientError(codes.PERMISSION_DENIED)
    if wanted.position == BEGINNING and not may_begin(user, name):
        raise ClientError(codes.PERMISSION_DENIED, "you may read its future only, from offset=now")
    own = load_topic(user_id, user_stream(user_id))
    if own is None:
        raise Unprepared([(user_id, user_stream(user_id))])
    own = own._replace(revision=marks.get(user_id, own.revision))
    feed, is_new = open_channel(name)
    start = start_of(feed, wanted.position)
    [item] = recover([feed], {name: start}, app_settings.PAGE_SIZE)
    return Found(feed, start.offset, item.page if item.recovered else None, own), is_new
