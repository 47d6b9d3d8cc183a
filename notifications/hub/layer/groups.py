"""The layer groups of this process: one channel, which joins a group for each stream."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer

from ...conf import app_settings
from ...group_names import PRIVATE_STREAMS, layer_group
from ...layer import ask
from ...metrics import LAYER_UP
from ..delivery.stream import LocalStream
from .idle_streams import LINGER, IdleStreams
from .pubsub import reconnect
from .shared_group import SharedGroup

logger = logging.getLogger(__name__)

#: Seconds after which a group is joined again. Layers end a membership after one day by default
#: (``group_expiry``).
MEMBERSHIP_TIME = 6 * 3600.0

#: Seconds from one look at all streams to the next, unless a group is known to be missing.
SWEEP_INTERVAL = 10.0

#: While the layer is down, all its connections are replaced in one of this many rounds.
REPLACE_EVERY = 5


class Groups:
    """Joins and leaves groups, receives messages, and tracks whether the layer works (P4).

    The layer is *up* until a call fails, or until a message of the process to itself does not
    arrive (:class:`~notifications.hub.layer.probe.Probe`). While it is down, no group counts as
    joined.

    Args:
        streams: the streams of this process, by name. Idle ones are removed when their groups are
            left.
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
        # Serializes changes: a group that is joined again while it is being left must stay joined.
        self._lock = asyncio.Lock()
        #: Tasks of :meth:`join`. They are not cancelled with their waiters: nobody would know
        #: whether the layer has carried out the call.
        self._joining: dict[LocalStream, asyncio.Task[bool]] = {}
        #: Done while the layer is down.
        self._down: asyncio.Future[None] = self._loop.create_future()
        #: When all streams are looked at again, and whether a group is known to be missing.
        self._sweep_at = 0.0
        self._is_missing = False
        self._idle = IdleStreams()
        self._shared = SharedGroup()
        #: How often the layer has failed. Memberships from before a failure do not count.
        self._failures = 0
        LAYER_UP.set(1)

    # Receiving

    async def receive(self, handle: Callable[[dict[str, Any]], None]) -> None:
        """Pass the layer's messages to ``handle``, one after the other, until the layer fails."""
        try:
            if not self._channel:
                async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
                    self._channel = await self._layer.new_channel("notifications")
                await self._join_missing()
            self._receiving = self._loop.create_task(self._receive_all(handle))
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

    async def join_group(self, group: str) -> None:
        """Join a group that does not belong to a stream.

        Raises:
            Exception: whatever the layer's client library raises.
        """
        await ask(self._layer.group_add, group, self._channel)

    @property
    def is_receiving(self) -> bool:
        return bool(self._channel)

    @property
    def is_joining(self) -> bool:
        """Are joins in progress for which connects wait, or have stopped waiting?"""
        return bool(self._joining)

    @property
    def has_joined_all(self) -> bool:
        """Has the process joined the groups of all streams that are read here?"""
        return all(stream.is_joined or stream.is_idle for stream in self._streams.values())

    # Up and down

    def went_down(self, error: Exception) -> None:
        """Mark the layer as down and no group as joined; :meth:`sweep` joins them again."""
        self.rejoin_all()
        self._failures += 1
        if not self.is_up:
            return
        self.is_up = False
        self._down.set_result(None)
        self._rounds = 0
        LAYER_UP.set(0)
        logger.warning(
            "The channel layer is down (%s): delivery continues from the database, and groups will "
            "be rejoined.",
            type(error).__name__,
        )
        self._changed()

    def rejoin_all(self) -> None:
        """Have :meth:`sweep` join all groups again, although the layer is up."""
        self._shared.forget()
        self._is_missing = True
        for stream in self._streams.values():
            self.rejoin(stream)

    def rejoin(self, stream: LocalStream) -> None:
        """Have :meth:`sweep` join the group of one stream again."""
        if self._shared.stands_for(stream):
            self._shared.forget()
        stream.is_joined = False
        self._is_missing = True

    def came_back(self) -> None:
        """Mark the layer as up: messages arrive again and all groups are joined."""
        if self.is_up:
            return
        self.is_up = True
        self._down = self._loop.create_future()
        LAYER_UP.set(1)
        logger.info("The channel layer is up again, and all groups are joined.")
        self._changed()

    async def reconnect(self) -> bool:
        """Reconnect if the layer is down; in some rounds, replace existing connections too.

        After a network partition, a dead connection may neither fail nor receive anything.

        Returns:
            Whether further calls of the layer make sense.
        """
        if self.is_up:
            return True
        self._rounds += 1
        replace_all = self._rounds % REPLACE_EVERY == 1
        try:
            is_done = await reconnect(self._layer, replace_all=replace_all)
        except Exception:  # whatever the layer's client library raises; went_down() has logged
            return False
        if replace_all and not is_done and self._receiving is not None:
            self._receiving.cancel()
        return True

    # Membership

    async def join(self, stream: LocalStream, until: float) -> None:
        """Join the stream's group, unless it is joined already.

        A connect does not wait for a layer that is down: this returns as soon as that is known,
        the position check stands in for the layer, and :meth:`sweep` joins later. It also returns
        at ``until``, however many joins are queued; the join then completes in the background.

        Args:
            stream: the stream, pinned by the caller.
            until: the event loop's time, in seconds.
        """
        if not self.is_up or stream.is_joined or self._shared.mark(stream):
            return
        task = self._joining.get(stream)
        if task is None:
            task = self._joining[stream] = self._loop.create_task(self._join(stream, if_up=True))
            task.add_done_callback(lambda _: self._joining.pop(stream))
        ends: set[asyncio.Future[Any]] = {task, self._down}
        timeout = max(0.0, until - self._loop.time())
        await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Cancel the joins in progress."""
        for task in (tasks := list(self._joining.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep_if_due(self) -> None:
        """Call :meth:`sweep` where a group is missing, and else every :data:`SWEEP_INTERVAL`.

        Nearly always all groups are joined, and looking at thousands of streams takes time.
        """
        if self._is_missing or not self.is_up or self._loop.time() >= self._sweep_at:
            await self.sweep(LINGER)

    async def sweep(self, linger: float = 0.0) -> None:
        """Join groups that are not joined, and leave those of streams idle for ``linger`` seconds.

        Also mark memberships older than :data:`MEMBERSHIP_TIME`, so that the next sweep renews
        them. Stops at the first failure, because the other calls would run into timeouts too.
        """
        self._sweep_at = self._loop.time() + SWEEP_INTERVAL
        self._shared.forget(before=self._loop.time() - MEMBERSHIP_TIME)
        self._is_missing = False
        if not await self._join_missing():
            return
        for stream in self._idle.update(self._streams.values(), self._loop.time(), linger):
            if not await self._leave(stream):
                return
        for stream in self._streams.values():
            if not stream.is_idle and self._loop.time() - stream.joined_at > MEMBERSHIP_TIME:
                self.rejoin(stream)

    def forget_idle(self) -> None:
        """Forget idle streams while the layer is down and :meth:`sweep` does not remove them."""
        if self.is_up:
            return
        for stream in list(self._streams.values()):
            if stream.is_idle and not stream.busy and not stream.is_joined:
                del self._streams[stream.name]

    async def _receive_all(self, handle: Callable[[dict[str, Any]], None]) -> None:
        while True:
            handle(await self._layer.receive(self._channel))

    async def _join_missing(self) -> bool:
        if not await self._join_shared():
            return False
        for stream in list(self._streams.values()):
            if not (stream.is_joined or stream.is_idle or await self._join(stream)):
                return False
        return True

    async def _join_shared(self) -> bool:
        if not self._shared.is_missing:
            return True
        failures = self._failures
        is_done = await self._change(self._layer.group_add, PRIVATE_STREAMS)
        if failures == self._failures and is_done:
            self._shared.since = self._loop.time()
        return is_done

    async def _join(self, stream: LocalStream, *, if_up: bool = False) -> bool:
        async with self._lock:
            # While it is down, all joins in this queue would run into the same failure, one by one.
            return (self.is_up or not if_up) and await self._join_now(stream)

    async def _join_now(self, stream: LocalStream) -> bool:
        """Join the stream's group; the caller holds the lock.

        Returns:
            False if the group could not be joined.
        """
        if stream.is_joined or not self._channel:
            return stream.is_joined
        if stream.is_idle or self._streams.get(stream.name) is not stream:
            return True  # no longer needed
        if self._shared.stands_for(stream):
            return await self._join_shared() and self._shared.mark(stream)
        failures = self._failures
        # Until this returns, the position check stands in for the layer.
        is_done = await self._change(self._layer.group_add, layer_group(stream.name))
        stream.joined_at = self._loop.time()
        # The layer may have failed meanwhile and lost the membership it had just accepted.
        stream.is_joined = is_done and failures == self._failures
        return is_done

    async def _leave(self, stream: LocalStream) -> bool:
        async with self._lock:
            if not stream.is_idle or self._streams.get(stream.name) is not stream:
                return True
            del self._streams[stream.name]
            if not stream.is_joined or self._shared.stands_for(stream):
                return True  # other private streams need the group
            return await self._change(self._layer.group_discard, layer_group(stream.name))

    async def _change(self, change: Callable[..., Awaitable[None]], group: str) -> bool:
        try:
            await ask(change, group, self._channel)
        except Exception as error:  # whatever the layer's client library raises
            self.went_down(error)
            return False
        return True
