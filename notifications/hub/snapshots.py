"""The state of connections when a check of rights begins, and what they ask about (P6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..streams.channel_rights import Question
from .sockets.connection import Connection, Reader
from .sockets.grants import Grant
from .verdicts import READ, SEE, Subscribed, Verdict


class Snapshot(NamedTuple):
    """The state of a connection at the time when a check of its user begins."""

    readers: list[Reader]
    #: See :attr:`Connection.unread` and :attr:`Connection.counted`.
    unread: int | None
    counted: int | None
    is_ready: bool

    @classmethod
    def of(cls, connection: Connection) -> Snapshot:
        return cls(
            list(connection.readers.values()),
            connection.unread,
            connection.counted,
            connection.is_ready,
        )


def subscribed(snapshots: Mapping[Connection, Snapshot]) -> dict[Any, Subscribed]:
    """What the clients of each user have subscribed to themselves, by user."""
    found: dict[Any, Subscribed] = defaultdict(lambda: Subscribed(set(), set(), set()))
    for connection, before in snapshots.items():
        for reader in before.readers:
            if reader.topic:
                found[connection.user_id].topics.add(reader.stream.name)
            elif reader.grant is not None and not reader.grant.by_token:
                found[connection.user_id].channels.add(_question(reader, reader.grant))
            if reader.grant is not None and reader.grant.asks_joins:
                found[connection.user_id].watched.add(reader.stream.name)
    return found


def is_allowed(reader: Reader, verdict: Verdict) -> bool:
    """Return whether the client may go on reading, according to the verdict on its user."""
    name = reader.stream.name
    if reader.grant is not None:
        return reader.grant.by_token or _question(reader, reader.grant) in verdict.channels
    return name in (verdict.topics if reader.topic else verdict.feeds)


def asks_host(readers: Iterable[Reader]) -> bool:
    """Return whether a function of the host decides about a right of one of these readers."""
    return any(
        "." in question.rule
        for reader in readers
        if reader.grant is not None
        for question in (_question(reader, reader.grant), Question(SEE, reader.stream.name))
    )


def _question(reader: Reader, grant: Grant) -> Question:
    """Ask as the client did when it subscribed."""
    return Question(READ, reader.stream.name, grant.data)
