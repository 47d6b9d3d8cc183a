"""What the hub's tests share: peers, publishing without hints, statements, a layer that fails."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from channels.layers import InMemoryChannelLayer
from django.db.backends.utils import CursorWrapper

from notifications.database.lanes import in_database
from tests.peers import Peer
from tests.rooms import hints


async def peer_of(user: Any) -> Peer:
    """Return a connected peer of this user."""
    peer = await Peer.of(user)
    await peer.connect()
    return peer


async def silently(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function that uses the ORM, as if the channel layer lost all of its hints."""

    def run() -> Any:
        with hints():
            return function(*args, **kwargs)

    return await in_database(run)


def own(user: Any) -> str:
    """Return the name of the private stream of this user."""
    return f"user:{user.pk}"


@contextmanager
def counted_statements(table: str) -> Iterator[list[str]]:
    """Collect the SQL statements of all threads that contain ``table``."""
    statements: list[str] = []
    original = CursorWrapper.execute

    def execute(self: Any, sql: Any, params: Any = None) -> Any:
        if table in str(sql):
            statements.append(str(sql))
        return original(self, sql, params)

    CursorWrapper.execute = execute  # type: ignore[method-assign]
    try:
        yield statements
    finally:
        CursorWrapper.execute = original  # type: ignore[method-assign]


FICKLE = "tests.hub.helpers.FickleLayer"


class FickleLayer(InMemoryChannelLayer):
    """An in-memory layer that records calls, and can raise, hang or be slow; see ``mood``."""

    mood: ClassVar[str] = "good"
    #: Seconds that a call takes in the mood "slow".
    delay: ClassVar[float] = 0.1
    calls: ClassVar[list[tuple[str, str]]] = []

    async def _obey(self, call: str, group: str = "") -> None:
        self.calls.append((call, group))
        if self.mood == "raises":
            raise ConnectionError("redis://user:secret@host is away")
        if self.mood == "hangs":
            await asyncio.sleep(3600)
        if self.mood == "slow":
            await asyncio.sleep(self.delay)

    async def group_add(self, group: str, channel: str) -> None:
        await self._obey("join", group)
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._obey("leave", group)
        await super().group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._obey("send", group)
        await super().group_send(group, message)
