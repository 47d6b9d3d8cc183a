"""The process's membership in layer groups: one channel, a group for each stream read here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer

from ...conf import app_settings
from ...layer import ask, group_name
from ...metrics import LAYER_UP
from ..delivery.stream import LocalStream
from .pubsub import reconnect

logger = logging.getLogger(__name__)

#: Layers end a group membership after a day unless it is renewed; seconds.
MEMBERSHIP_TIME = 6 * 3600.0

#: While the layer is down, connections that may be dead are given up every so many rounds.
ROUNDS = 5


class Groups:
    """Joins and leaves. What the layer refuses takes it down, and is tried again (P4).

    The layer is *up* until something fails, or until a message to ourselves does not come back
    (:class:`~notifications.hub.layer.probe.Pulse`). Down, it counts as if nobody were in any group.

    Args:
        streams: the streams of this process, by name; idle ones are taken out when they are left.
        changed: called when the layer has gone down or come back.
    """

    def __init__(self, streams: dict[str, LocalStream], changed: Callable[[], None]) -> None:
        self.is_up = True
        self._streams = streams
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._layer: Any = get_channel_layer(app_settings.CHANNEL_LAYER)
        self._channel = ""
        self._receiving: asyncio.Task[None] | None = None
        self._rounds = 0
        # Membership changes one after the other: a group that is joined again while it is being
        # left must stay joined.
        self._lock = asyncio.Lock()
        #: What :meth:`join` has begun. Not ended with those who wait for it, because nobody knows
        #: what a layer has done of a call that is cancelled.
        self._joining: dict[LocalStream, asyncio.Task[bool]] = {}
        #: Done while the layer is down.
        self._down: asyncio.Future[None] = self._loop.create_future()
        #: How often the layer has gone down: memberships of an earlier time mean nothing.
        self._losses = 0
        LAYER_UP.set(1)

    # Hearing

    async def receive(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand over the layer's messages, one after the other, until the layer fails."""
        try:
            if not self._channel:
                async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
                    self._channel = await self._layer.new_channel("notifications")
                await self._join_missing()
            self._receiving = self._loop.create_task(self._hand_over(take))
            await asyncio.wait({self._receiving})
            if not self._receiving.cancelled():
                self._receiving.result()
        except Exception as error:  # whatever the layer's client library raises
            self.went_down(error)
            await asyncio.sleep(1.0)
        finally:
            if self._receiving is not None:
                self._receiving.cancel()
                await asyncio.wait({self._receiving}, timeout=app_settings.LAYER_TIMEOUT)

    async def enter(self, group: str) -> None:
        """Join a group that is no stream's.

        Raises:
            Exception: whatever the layer's client library raises.
        """
        await ask(self._layer.group_add, group, self._channel)

    @property
    def is_hearing(self) -> bool:
        return bool(self._channel)

    @property
    def has_joined_all(self) -> bool:
        """Is the process in every group in which it has to be?"""
        return all(stream.is_joined or stream.is_idle for stream in self._streams.values())

    # Up and down

    def went_down(self, error: Exception) -> None:
        """Believe in no membership any more; :meth:`sweep` joins again."""
        for stream in self._streams.values():
            stream.is_joined = False
        self._losses += 1
        if not self.is_up:
            return
        self.is_up = False
        self._down.set_result(None)
        self._rounds = 0
        LAYER_UP.set(0)
        logger.warning(
            "The channel layer is down (%s): delivery goes on from the database, and groups are "
            "joined again later.",
            type(error).__name__,
        )
        self._changed()

    def doubt(self) -> None:
        """Have :meth:`sweep` join all groups again, although the layer seems to work."""
        for stream in self._streams.values():
            stream.is_joined = False

    def came_back(self) -> None:
        """Messages come through again, with all groups joined."""
        if self.is_up:
            return
        self.is_up = True
        self._down = self._loop.create_future()
        LAYER_UP.set(1)
        logger.info("The channel layer is up again, and all groups are joined.")
        self._changed()

    async def reconnect(self) -> bool:
        """While the layer is down, connect; now and then give up connections that may be dead.

        A partition leaves connections on which nothing fails and nothing arrives.

        Returns:
            Is there a point in asking the layer for anything?
        """
        if self.is_up:
            return True
        self._rounds += 1
        anew = self._rounds % ROUNDS == 1
        try:
            is_done = await reconnect(self._layer, anew=anew)
        except Exception:  # whatever the layer's client library raises; went_down() has told
            return False
        if anew and not is_done and self._receiving is not None:
            self._receiving.cancel()
        return True

    # Membership

    async def join(self, stream: LocalStream, until: float) -> None:
        """Join the stream's group, unless the process is in it.

        Nobody who connects waits for a layer that is down: he goes on as soon as that is known,
        the position check stands in, and :meth:`sweep` joins later. Nor does he wait for longer
        than until ``until``, however many joins are before his; his own is then still done.

        Args:
            until: a time of the loop's clock.
        """
        if not self.is_up or stream.is_joined:
            return
        task = self._joining.get(stream)
        if task is None:
            task = self._joining[stream] = self._loop.create_task(self._join_if_up(stream))
            task.add_done_callback(lambda _: self._joining.pop(stream))
        ends: set[asyncio.Future[Any]] = {task, self._down}
        patience = max(0.0, until - self._loop.time())
        await asyncio.wait(ends, timeout=patience, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Join no more."""
        tasks = list(self._joining.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Leave the groups that nobody here reads any more; join what could not be joined.

        It ends with the first failure. The others would fail too, each after its time.
        """
        if not await self._join_missing():
            return
        for stream in list(self._streams.values()):
            if stream.is_idle and not stream.busy:
                if not await self._leave(stream):
                    return
            elif self._loop.time() - stream.joined_at > MEMBERSHIP_TIME:
                stream.is_joined = False

    def forget(self) -> None:
        """While the layer is down, :meth:`sweep` may not come to it: keep nothing nobody reads."""
        if self.is_up:
            return
        for stream in list(self._streams.values()):
            if stream.is_idle and not stream.busy and not stream.is_joined:
                del self._streams[stream.name]

    async def _hand_over(self, take: Callable[[dict[str, Any]], None]) -> None:
        while True:
            take(await self._layer.receive(self._channel))

    async def _join_missing(self) -> bool:
        for stream in list(self._streams.values()):
            if stream.is_joined or stream.is_idle:
                continue
            if not await self._join(stream):
                return False
        return True

    async def _join_if_up(self, stream: LocalStream) -> bool:
        async with self._lock:
            # Else all who queue here would wait for the same failure, one after the other.
            return self.is_up and await self._join_now(stream)

    async def _join(self, stream: LocalStream) -> bool:
        async with self._lock:
            return await self._join_now(stream)

    async def _join_now(self, stream: LocalStream) -> bool:
        """With the lock held.

        Returns:
            False if the layer does not take it.
        """
        if stream.is_joined or not self._channel:
            return stream.is_joined
        if stream.is_idle or self._streams.get(stream.name) is not stream:
            return True  # nobody needs it any more
        stream.joined_at = self._loop.time()
        losses = self._losses
        # Meanwhile the position check stands in.
        is_done = await self._change(self._layer.group_add, stream)
        # The layer may have gone down in the middle, and forgotten what it had just taken.
        stream.is_joined = is_done and losses == self._losses
        return is_done

    async def _leave(self, stream: LocalStream) -> bool:
        async with self._lock:
            if not stream.is_idle or self._streams.get(stream.name) is not stream:
                return True
            del self._streams[stream.name]
            return not stream.is_joined or await self._change(self._layer.group_discard, stream)

    async def _change(self, change: Callable[..., Awaitable[None]], stream: LocalStream) -> bool:
        try:
            await ask(change, group_name(stream.name), self._channel)
        except Exception as error:  # whatever the layer's client library raises
            self.went_down(error)
            return False
        return True
