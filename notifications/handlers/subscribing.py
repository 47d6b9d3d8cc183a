"""A stream that was recovered: what the reply says of it, and the reader that it becomes."""

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
    # What could not be recovered was not delivered, but the client knows and asks the inbox.
    acked = feed.delivered if item.recovered else item.page.offset
    hub.streams.attach(connection, stream, feed, item.page, acked, topic=topic)
