"""Turns a recovered stream into a subscribe result and into a reader of the connection."""

from collections.abc import Mapping

import msgspec

from ..hub import Connection, Hub, LocalStream
from ..protocol import commands, messages
from ..streams import encoding
from ..streams.recovery import Recovered


def subscribe_result(item: Recovered) -> messages.SubscribeResult:
    return messages.SubscribeResult(
        recoverable=True,
        positioned=True,
        epoch=item.feed.epoch,
        offset=item.page.offset,
        publications=encode_publications(item.page.publications),
        recovered=item.recovered,
        was_recovering=item.asked,
    )


def encode_publications(publications: list[encoding.Publication]) -> list[messages.Publication]:
    return [
        messages.Publication(data=msgspec.Raw(publication.data), offset=publication.offset)
        for publication in publications
    ]


def attach(
    hub: Hub, connection: Connection, stream: LocalStream, item: Recovered, *, topic: bool
) -> None:
    feed = item.feed
    # Entries that were not recovered were not delivered either, so the next pong does not
    # acknowledge them. The client knows of the loss and fetches the inbox.
    acked = feed.delivered if item.recovered else item.page.offset
    hub.streams.attach(connection, stream, feed, item.page, acked, topic=topic)


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
