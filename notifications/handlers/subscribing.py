"""Turns a recovered stream into a subscribe result and into a reader of the connection."""

from collections.abc import Mapping

from ..hub import Connection, Hub, LocalStream
from ..hub.sockets.grants import Grant
from ..protocol import commands, messages
from ..streams.recovery import Recovered


def subscribe_result(item: Recovered) -> messages.SubscribeResult:
    return messages.SubscribeResult(
        recoverable=True,
        positioned=True,
        epoch=item.feed.epoch,
        offset=item.page.offset,
        publications=item.publications,
        recovered=item.recovered,
        was_recovering=item.asked,
    )


def attach(
    hub: Hub,
    connection: Connection,
    stream: LocalStream,
    item: Recovered,
    *,
    topic: bool = False,
    grant: Grant | None = None,
) -> None:
    """Add a reader, after the result was written; see ``LocalStreams.attach``."""
    feed = item.feed
    # Entries that were not recovered were not delivered either, so the next pong does not
    # acknowledge them. The client knows of the loss and fetches the inbox.
    acked = feed.delivered if item.recovered else item.page.offset
    hub.streams.attach(connection, stream, feed, item.page, acked, topic=topic, grant=grant)


def attach_requested(
    hub: Hub,
    connection: Connection,
    stream: LocalStream,
    item: Recovered,
    rights_changes: int,
    *,
    grant: Grant | None = None,
) -> None:
    """:func:`attach` for a subscription that the client has asked for, and unpin the stream.

    Args:
        rights_changes: ``connection.rights_changes`` before the right was checked.
        grant: why the client may read a channel of a namespace; None for a topic.
    """
    if connection in hub.connections.all and stream.name not in connection.readers:
        current = hub.streams.for_row(stream, item.feed.stream_id)
        if current is not stream:
            # Entries of this row that were announced meanwhile were ignored: read history again.
            item = item._replace(page=item.page._replace(more=True))
        attach(hub, connection, current, item, topic=grant is None, grant=grant)
        if connection.rights_changes != rights_changes:  # muted, left or forbidden meanwhile
            hub.rights.check_user(connection.user_id)
    stream.unpin()


def acknowledge_claims(
    hub: Hub, connection: Connection, claims: Mapping[str, commands.SubscribeRequest]
) -> None:
    """Acknowledge the positions that a one-way client sends with ``connect``: it has no pongs.

    Only positions from which the server has resumed count. What the client makes up about them
    concerns nobody but its own user.

    Args:
        claims: the client's positions by channel.
    """
    resumed = {
        name: claim.offset
        for name, claim in claims.items()
        if claim.recover and _is_resumed(connection, name, claim)
    }
    hub.connections.arrived(connection, resumed)


def _is_resumed(connection: Connection, name: str, claim: commands.SubscribeRequest) -> bool:
    reader = connection.readers.get(name)
    return reader is not None and reader.stream.epoch == claim.epoch and claim.offset <= reader.sent
