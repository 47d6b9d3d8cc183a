"""Tells the clients in a channel who joins and leaves, within limits.

A join goes through the channel layer only: it may be lost, and nothing is repaired (the table of
members is the truth, P4). Joins and leaves of a moment are gathered into one message for each
channel. A client that joins and leaves in that moment is not told of at all.

When thousands of clients reconnect, everybody would be told of everybody. So the number of joins
in one message is limited, and so are the writes to sockets, for each channel and for the process.
What is beyond the limits is not told, and counted.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ..layer import announcer, type_prefix
from ..metrics import JOINS_DROPPED
from ..protocol.bucket import Bucket
from ..protocol.codec import Encodings
from ..protocol.messages import ClientInfo, Join, Leave, Push, Reply
from .sockets.connection import Connection

#: Seconds for which joins and leaves are gathered.
GATHER = 0.2

#: Joins and leaves in one message at most.
MAX_TOLD = 100

#: Joins and leaves that wait to be written to the sockets of this process.
MAX_WAITING = 1000

#: Writes to sockets for joins and leaves: in a second, and at once after a quiet time. A write
#: takes about 11 µs, so all channels together take at most a tenth of a core.
CHANNEL_RATE, CHANNEL_BURST = 2_000.0, 10_000.0
PROCESS_RATE, PROCESS_BURST = 10_000.0, 50_000.0

#: Writes after which other work of the event loop has its turn.
SLICE = 500

_decoder = msgspec.json.Decoder(ClientInfo)


class Gathered(NamedTuple):
    """The joins and leaves of one channel that are not sent yet, by client id."""

    joined: dict[str, ClientInfo]
    left: dict[str, ClientInfo]


class JoinLeave:
    """Announces the joins and leaves of this process, and writes those of all to its clients."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._gathered: dict[str, Gathered] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: The connections that are told of joins and leaves, by channel.
        self._watching: dict[str, dict[Connection, None]] = defaultdict(dict)
        self._waiting: deque[Push] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._process = Bucket(PROCESS_RATE, PROCESS_BURST, self._loop.time())
        #: Budgets of the channels that were used last.
        self._budgets: OrderedDict[str, Bucket] = OrderedDict()

    async def stop(self) -> None:
        """Send what is gathered, and stop writing."""
        self._send()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def watch(self, connection: Connection, channel: str) -> None:
        """From now on, tell a connection who joins and leaves a channel."""
        self._watching[channel][connection] = None

    def forget(self, connection: Connection, channel: str) -> None:
        """Undo :meth:`watch`; do nothing if the connection does not watch the channel."""
        if channel in self._watching:
            self._watching[channel].pop(connection, None)
            if not self._watching[channel]:
                del self._watching[channel]

    def joined(self, channel: str, info: ClientInfo) -> None:
        """Announce that a client of this process has joined a channel."""
        gathered = self._gather(channel)
        if len(gathered.joined) < MAX_TOLD:
            gathered.joined[info.client] = info
        else:
            JOINS_DROPPED.inc()

    def left(self, channel: str, info: ClientInfo) -> None:
        """Announce that a client of this process has left a channel."""
        gathered = self._gather(channel)
        if gathered.joined.pop(info.client, None) is not None:
            return
        if len(gathered.left) < MAX_TOLD:
            gathered.left[info.client] = info
        else:
            JOINS_DROPPED.inc()

    def receive(self, channel: str, joined: list[bytes], left: list[bytes]) -> None:
        """Write the joins and leaves in a message of the layer to the clients that watch.

        Args:
            channel: name of the channel.
            joined: the infos of the clients that have joined, as JSON.
            left: likewise, of those that have left.
        """
        if channel not in self._watching:
            return
        # A client that has left and come back under the same id comes last.
        pushes = [Push(channel=channel, leave=Leave(_decoder.decode(info))) for info in left]
        pushes += [Push(channel=channel, join=Join(_decoder.decode(info))) for info in joined]
        room = max(0, MAX_WAITING - len(self._waiting))
        JOINS_DROPPED.inc(len(pushes[room:]))
        self._waiting.extend(pushes[:room])
        if self._writer is None or self._writer.done():
            self._writer = self._loop.create_task(self._write_waiting())

    def _gather(self, channel: str) -> Gathered:
        if channel not in self._gathered:
            self._gathered[channel] = Gathered({}, {})
        if self._timer is None:
            self._timer = self._loop.call_later(GATHER, self._send)
        return self._gathered[channel]

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, {}
        for channel, (joined, left) in gathered.items():
            if joined or left:
                _announce(channel, joined.values(), left.values())

    async def _write_waiting(self) -> None:
        while self._waiting:
            await self._write(self._waiting.popleft())
            await asyncio.sleep(0)

    async def _write(self, push: Push) -> None:
        channel = push.channel
        if not self._may_write(channel, len(self._watching.get(channel, ()))):
            JOINS_DROPPED.inc()
            return
        watching = list(self._watching.get(channel, ()))
        reply = Reply(push=push)
        messages = Encodings(lambda codec: codec.encode(reply))
        for number, connection in enumerate(watching, 1):
            if connection in self._watching.get(channel, ()):
                # A blocked socket is not told: its client asks for presence when it matters.
                connection.socket.offer(messages[connection.codec])
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def _may_write(self, channel: str, count: int) -> bool:
        """Charge so many writes to the budgets; False if one of them does not hold as many."""
        now = self._loop.time()
        budget = self._budgets.pop(channel, None) or Bucket(CHANNEL_RATE, CHANNEL_BURST, now)
        self._budgets[channel] = budget
        while len(self._budgets) > 1 and next(iter(self._budgets.values())).is_full(now):
            self._budgets.popitem(last=False)
        cost = min(count, CHANNEL_BURST)  # else a channel with more clients would be told nothing
        if budget.left(now) < cost or not self._process.try_take(cost, now):
            return False
        budget.take(cost, now)
        return True


def announce_left(members: Iterable[tuple[str, ClientInfo]]) -> None:
    """Announce that the members of a dead worker have left; callable from any thread.

    Args:
        members: channels and clients.
    """
    by_channel: dict[str, list[ClientInfo]] = defaultdict(list)
    for channel, info in members:
        by_channel[channel].append(info)
    for channel, infos in by_channel.items():
        for start in range(0, len(infos), MAX_TOLD):
            _announce(channel, [], infos[start : start + MAX_TOLD])


def _announce(channel: str, joined: Iterable[ClientInfo], left: Iterable[ClientInfo]) -> None:
    """Send a message for :meth:`JoinLeave.receive` to the hubs with clients in a channel."""
    message = {
        "type": f"{type_prefix}members",
        "stream": channel,
        "joined": [msgspec.json.encode(info) for info in joined],
        "left": [msgspec.json.encode(info) for info in left],
    }
    announcer.send(channel, message)
