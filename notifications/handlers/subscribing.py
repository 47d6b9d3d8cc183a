"""Turns a recovered stream into a subscribe result and into a reader of the connection."""

import msgspec

from ..hub import Connection, Hub, LocalStream
from ..protocol import messages
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
