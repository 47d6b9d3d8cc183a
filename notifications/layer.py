"""Hints to other processes: messages into the channel layer, from any thread, never blocking.

The layer is only a hint (P4). A message that cannot be sent is counted and forgotten; the
position check of every worker finds what it would have told.

Layers keep their connections per event loop, and ``async_to_sync`` makes a loop per call. So all
messages of a process leave through one long-lived loop: the hub's where a hub runs, else that of
a background thread. That is a thread of the operating system, because a loop that runs in one
counts as running for all that the thread does: below gevent, for every greenlet of the process.
"""

import asyncio
import atexit
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any

from channels.layers import get_channel_layer

from .conf import app_settings
from .database.threads import start_native
from .metrics import LAYER_ERRORS

logger = logging.getLogger(__name__)

#: Hints kept while the layer is slow. More would only say later what the database says already.
QUEUE_SIZE = 10_000

#: Channels takes names of less than 100 characters; the longest prefix has 20.
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

#: A layer's pool may hold connections that died with the last Redis, which only using them shows.
ATTEMPTS = 3

type_prefix = "notifications."


def group_name(stream: str) -> str:
    """The layer group of a stream: ``user:7`` → ``notifications.user.7``.

    Group names allow letters, digits, ``-_.`` and less than 100 characters (Channels, *Channel
    layer specification*), user keys may be any text: what does not fit is hashed.
    """
    kind, _, key = stream.partition(":")
    if not key:
        return f"notifications.{kind}"
    if not PLAIN.match(key) or key.startswith("hash-"):
        key = f"hash-{blake2b(key.encode(), digest_size=16).hexdigest()}"
    return f"notifications.{kind}.{key}"


class Announcer:
    """The outbox of this process: a bounded queue and one task that empties it."""

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget loops, threads and messages: a forked child has none of its parent's threads."""
        self._queue: deque[tuple[str, dict[str, Any]]] = deque(maxlen=QUEUE_SIZE)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: The background thread's, once it has made it.
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._has_thread = False
        self._task: asyncio.Task[None] | None = None
        #: The loop has been told that there is something, and has not looked yet.
        self._is_woken = False
        self._on_failure: Callable[[Exception], None] | None = None
        self.available = True

    def use_loop(
        self,
        loop: asyncio.AbstractEventLoop | None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Send from ``loop`` (the hub's); None goes back to the background thread.

        Args:
            failed: told, in that loop, of each message that the layer did not take.
        """
        with self._lock:
            self._loop = loop
            self._on_failure = failed
            self._task = None
            self._is_woken = False

    def send(self, stream: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for the group of ``stream``. Returns at once, never raises."""
        if len(self._queue) == QUEUE_SIZE:  # the oldest gives way
            LAYER_ERRORS.inc()
        self._queue.append((group_name(stream), message))
        if self._is_woken:  # it looks at the queue after it has forgotten that
            return
        self._is_woken = True
        try:
            loop = self._sending_loop()
            if loop is not None:  # else the thread looks at the queue when it has made one
                loop.call_soon_threadsafe(self._start)
        except RuntimeError:
            self._is_woken = False
            # The loop has closed this very moment; the message leaves with the next one.
            logger.debug("A hint to %s has to wait.", stream)

    def flush(self, timeout: float) -> None:
        """Wait, ``timeout`` seconds at most, until the queue is empty. Not for the loop itself."""
        deadline = time.monotonic() + timeout
        while (self._queue or self._busy()) and time.monotonic() < deadline:
            time.sleep(0.005)

    async def emptied(self, patience: float) -> None:
        """What :meth:`flush` does, for the loop that sends."""
        if self._queue:
            self._start()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience)

    def _busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def _start(self) -> None:
        self._is_woken = False
        if not self._busy():
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            group, message = self._queue.popleft()
            try:
                await group_send(group, message)
            except Exception as error:  # whatever the layer's client library raises
                self._failed(error)
                return
            if not self.available:
                self.available = True
                logger.info("The channel layer takes messages again.")

    def _failed(self, error: Exception) -> None:
        # What is queued would wait for the same failure, and is in the database anyway.
        LAYER_ERRORS.inc(1 + len(self._queue))
        self._queue.clear()
        if self.available:
            self.available = False
            logger.warning(
                "The channel layer takes no messages (%s); delivery goes on from the database.",
                type(error).__name__,
            )
        if self._on_failure is not None:
            self._on_failure(error)

    def _sending_loop(self) -> asyncio.AbstractEventLoop | None:
        # Nothing below switches to another greenlet: this lock may be of before gevent came.
        with self._lock:
            if self._loop is not None and self._loop.is_closed():  # and nobody has said so
                self._loop = self._task = None
                self._is_woken = False
            if self._loop is None and not self._has_thread:
                start_native(self._run, "notifications-layer")
                self._has_thread = True
                atexit.register(lambda: self.flush(app_settings.LAYER_TIMEOUT))
            return self._loop or self._own_loop

    def _run(self) -> None:
        """The background thread. It makes its loop itself: gevent ties selectors to threads."""
        loop = asyncio.new_event_loop()
        loop.call_soon(self._start)
        self._own_loop = loop
        loop.run_forever()


announcer = Announcer()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=announcer.start_afresh)


def send_publication(
    stream: str, epoch: str, offset: int, data: bytes, at: int = 0, previous: int = 0
) -> None:
    """Tell the readers of ``stream`` that ``offset`` is there, with its encoded content.

    Args:
        at: when it was published, in microseconds since 1970.
        previous: the same of the entry before it, 0 if there is none or it is not known. Both
            together show readers whether it belongs to the history that they have read.
    """
    announcer.send(
        stream,
        {
            "type": type_prefix + "publication",
            "stream": stream,
            "epoch": epoch,
            "offset": offset,
            "data": data,
            "at": at,
            "previous": previous,
        },
    )


def send_check() -> None:
    """Ask all hubs to compare their streams with the database: much has been published."""
    # The stream that every hub with a connection reads.
    announcer.send("broadcast", {"type": type_prefix + "check", "stream": "broadcast"})


def send_message(
    stream: str,
    data: bytes,
    origin: str = "",
    unread: int | None = None,
    revision: int | None = None,
    recounted: bool = False,
) -> None:
    """Send ``data`` (JSON) as a ``message`` push to the connections on a user's own stream.

    Args:
        stream: the user's own stream.
        data: the message.
        origin: the client that caused it and knows already, "" for none.
        unread: the unread count that ``data`` tells, None if it tells none.
        revision: of the stream, which this change alone has made; None if it made none.
        recounted: other streams are in the count than before.
    """
    message = {"type": type_prefix + "message", "stream": stream, "data": data, "origin": origin}
    counted = {"unread": unread, "revision": revision, "recounted": recounted}
    announcer.send(stream, {**message, **counted})


def send_changed(stream: str, session: str = "") -> None:
    """Ask the hubs to look again at the rights and connections of the stream's user.

    Args:
        stream: the user's own stream.
        session: digest of a session key whose connections end now, "" for none; never the key.
    """
    announcer.send(stream, {"type": type_prefix + "changed", "stream": stream, "session": session})


def send_session_ended(session: str) -> None:
    """End the connections of a session wherever they are, although its user is not known.

    Args:
        session: digest of the session key; never the key.
    """
    # The stream that every hub with a connection reads.
    announcer.send(
        "broadcast",
        {"type": type_prefix + "session_ended", "stream": "broadcast", "session": session},
    )


async def group_send(group: str, message: dict[str, Any]) -> None:
    """Send to a group and wait until the layer has taken it; :meth:`Announcer.send` does not wait.

    Raises:
        Exception: whatever the layer's client library raises, or TimeoutError.
    """
    await ask(_layer().group_send, group, message)


async def ask(call: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Have the layer do something, within ``LAYER_TIMEOUT`` seconds.

    What fails is asked again at once, because the reason may be a connection that died long ago.

    Args:
        call: a method of the layer that may be called twice.

    Raises:
        Exception: whatever the layer's client library raises, or TimeoutError.
    """
    async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
        for left in reversed(range(ATTEMPTS)):
            try:
                await call(*args)
            except Exception:  # whatever the layer's client library raises
                if not left:
                    raise
            else:
                return


def _layer() -> Any:
    layer = get_channel_layer(app_settings.CHANNEL_LAYER)
    if layer is None:
        raise RuntimeError("no channel layer")
    return layer
