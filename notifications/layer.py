"""Hints to other processes: messages sent to the channel layer from any thread, without blocking.

The layer is only a hint (P4). A message that cannot be sent is counted and dropped; the position
check of every worker finds what it would have announced.

Layers keep their connections per event loop, and ``async_to_sync`` makes a loop per call. So all
messages of a process go through one long-lived loop: the hub's if a hub runs, else that of a
background thread. It is a native thread even under gevent, because a loop that runs in a greenlet
counts as running for every greenlet of the process.
"""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer

from .conf import app_settings
from .database.threads import start_native
from .group_names import layer_group
from .metrics import LAYER_ERRORS

logger = logging.getLogger(__name__)

#: Hints that are queued while the layer is slow. Dropped ones are found in the database anyway.
QUEUE_SIZE = 10_000

#: Attempts per message. The layer's pool may hold connections that died when Redis was restarted,
#: and only using them shows it.
ATTEMPTS = 3

type_prefix = "notifications."


class Announcer:
    """The outgoing messages of this process: a bounded queue, and one task that sends them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget loops, threads and messages; a forked child has none of its parent's threads."""
        self._queue: deque[tuple[str, dict[str, Any]]] = deque(maxlen=QUEUE_SIZE)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: The loop of the background thread, once that has created it.
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._has_thread = False
        self._task: asyncio.Task[None] | None = None
        #: Whether ``_start`` is scheduled in the loop and has not run yet.
        self._is_woken = False
        self._on_failure: Callable[[Exception], None] | None = None
        self.available = True

    def use_loop(
        self,
        loop: asyncio.AbstractEventLoop | None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Send from ``loop`` (the hub's), or from the background thread if it is None.

        Args:
            loop: the event loop that sends.
            failed: called in that loop with each error of the layer.
        """
        with self._lock:
            self._loop = loop
            self._on_failure = failed
            self._task = None
            self._is_woken = False

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Undo :meth:`use_loop`, unless another loop sends by now: that of another hub."""
        if self._loop is loop:
            self.use_loop(None)

    def send(self, stream: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for the group of ``stream``. Returns at once, never raises."""
        if len(self._queue) == QUEUE_SIZE:  # the oldest message is dropped
            LAYER_ERRORS.inc()
        self._queue.append((layer_group(stream), message))
        if self._is_woken:  # _start resets this before it looks at the queue
            return
        self._is_woken = True
        try:
            loop = self._sending_loop()
            if loop is not None:  # else the thread looks at the queue after creating its loop
                loop.call_soon_threadsafe(self._start)
        except RuntimeError:
            self._is_woken = False
            # The loop has just closed; the message is sent together with the next one.
            logger.debug("The hint to %s is sent with the next one.", stream)

    def flush(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds until everything is sent. Do not call it in the loop."""
        deadline = time.monotonic() + timeout
        while (self._queue or self._is_sending()) and time.monotonic() < deadline:
            time.sleep(0.005)

    async def aflush(self, patience: float) -> None:
        """Like :meth:`flush`, but for the loop that sends; ``patience`` is in seconds.

        In any other loop it does nothing.
        """
        if self._loop is not asyncio.get_running_loop():
            return
        if self._queue:
            self._start()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience)

    def _is_sending(self) -> bool:
        return self._task is not None and not self._task.done()

    def _start(self) -> None:
        self._is_woken = False
        if not self._is_sending():
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            group, message = self._queue.popleft()
            try:
                await group_send(group, message)
            except Exception as error:  # the layer's client library may raise anything
                self._failed(error)
                return
            if not self.available:
                self.available = True
                logger.info("The channel layer works again.")

    def _failed(self, error: Exception) -> None:
        # Queued messages would fail in the same way, and their content is in the database anyway.
        LAYER_ERRORS.inc(1 + len(self._queue))
        self._queue.clear()
        if self.available:
            self.available = False
            logger.warning(
                "The channel layer fails (%s); notifications are delivered from the database.",
                type(error).__name__,
            )
        if self._on_failure is not None:
            self._on_failure(error)

    def _sending_loop(self) -> asyncio.AbstractEventLoop | None:
        # Nothing below switches greenlets, because the lock may not be patched by gevent.
        with self._lock:
            if self._loop is not None and self._loop.is_closed():  # without calling use_loop
                self._loop = self._task = None
                self._is_woken = False
            if self._loop is None and not self._has_thread:
                start_native(self._run, "notifications-layer")
                self._has_thread = True
                atexit.register(lambda: self.flush(app_settings.LAYER_TIMEOUT))
            return self._loop or self._own_loop

    def _run(self) -> None:
        """Run the background thread, which creates its loop: gevent ties selectors to threads."""
        loop = asyncio.new_event_loop()
        loop.call_soon(self._start)
        self._own_loop = loop
        loop.run_forever()


announcer = Announcer()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=announcer.reset)


def send_publication(
    stream: str, epoch: str, offset: int, data: bytes, at: int = 0, previous: int = 0
) -> None:
    """Send a publication to the hubs with readers of ``stream``.

    ``at`` and ``previous`` show a hub whether the entry continues the history that it has read.

    Args:
        stream: name of the stream.
        epoch: epoch of the stream.
        offset: offset of the publication.
        data: its encoded content.
        at: when it was published, in microseconds since 1970.
        previous: when the previous entry was published, likewise; 0 if there is none or it is
            unknown.
    """
    _announce(
        "publication", stream, epoch=epoch, offset=offset, data=data, at=at, previous=previous
    )


def ephemeral_message(channel: str, content: bytes, at: int) -> dict[str, Any]:
    """The message that carries a publication which is not stored.

    Args:
        channel: name of the channel.
        content: the publication as JSON.
        at: when it was published, in microseconds since 1970.
    """
    return {"type": f"{type_prefix}ephemeral", "stream": channel, "data": content, "at": at}


def send_check() -> None:
    """Ask all hubs to compare their streams with the database; for many publications at once."""
    # Every hub with connections reads this stream.
    _announce("check", "broadcast")


def send_message(
    stream: str,
    data: bytes,
    origin: str = "",
    unread: int | None = None,
    revision: int | None = None,
    recounted: bool = False,
) -> None:
    """Send ``data`` as a ``message`` push to the connections of a user.

    Args:
        stream: name of the user's own stream.
        data: the message, encoded as JSON.
        origin: id of the client that caused the change and needs no message; "" for none.
        unread: the unread count in ``data``; None if it has none.
        revision: the revision of the stream that this change alone has made; None if it made none.
        recounted: whether the set of streams that are counted has changed.
    """
    counted = {"unread": unread, "revision": revision, "recounted": recounted}
    _announce("message", stream, data=data, origin=origin, **counted)


def send_changed(stream: str, session: str = "") -> None:
    """Ask the hubs to check the rights and connections of a user again.

    Args:
        stream: name of the user's own stream.
        session: digest of a session key whose connections are closed, never the key itself; "" for
            none.
    """
    _announce("changed", stream, session=session)


def send_session_ended(session: str) -> None:
    """Ask all hubs to close the connections of a session whose user is not known.

    Args:
        session: digest of the session key, never the key itself.
    """
    # Every hub with connections reads this stream.
    _announce("session_ended", "broadcast", session=session)


def _announce(kind: str, stream: str, **content: Any) -> None:
    announcer.send(stream, {"type": type_prefix + kind, "stream": stream, **content})


async def group_send(group: str, message: dict[str, Any]) -> None:
    """Send to a group, and wait until the layer has accepted it; :meth:`Announcer.send` queues.

    Raises:
        TimeoutError: it takes longer than ``LAYER_TIMEOUT`` seconds.
        Exception: whatever the layer's client library raises.
    """
    await ask(_layer().group_send, group, message)


async def ask(call: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Call a method of the layer, within ``LAYER_TIMEOUT`` seconds.

    A failed call is retried at once, because the reason may be a connection that died long ago.

    Args:
        call: a method of the layer that can safely be repeated.
        args: its arguments.

    Raises:
        TimeoutError: all attempts together take too long.
        Exception: whatever the layer's client library raises.
    """
    async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
        for left in reversed(range(ATTEMPTS)):
            try:
                await call(*args)
            except Exception:  # the layer's client library may raise anything
                if not left:
                    raise
            else:
                return


def _layer() -> Any:
    layer = get_channel_layer(app_settings.CHANNEL_LAYER)
    if layer is None:
        raise RuntimeError(f"the channel layer {app_settings.CHANNEL_LAYER!r} is not configured")
    return layer
