"""One connection's state machine, without I/O: frames in, effects out.

The session knows the protocol and no socket, database, clock or random source: frames, results
and the time are handed in, and what has to happen is handed back as effects. The shell
(:mod:`notifications.consumers`) carries them out:

:class:`Send`      write this text frame
:class:`Perform`   carry out a request, then call :meth:`Session.answer` or :meth:`Session.refuse`
:class:`Arrived`   the client has received everything up to these positions
:class:`Close`     end the connection

:mod:`~notifications.protocol.heartbeat` knows when a ping is due and what a pong proves.
"""

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto

from . import codes, messages
from .bucket import Bucket
from .effects import Arrived, Close, Effect, Limits, Perform, Send
from .heartbeat import Heartbeat
from .json import PING, BadFrame, decode_frame, encode_reply, is_longer

#: Ids of recent commands that may not come again.
REMEMBERED_IDS = 64

#: Commands in excess of the rate that are answered with an error before the connection ends.
PATIENCE = 1000


class State(Enum):
    NEW = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class Session:
    """The protocol state of one connection.

    Args:
        now: seconds of a monotonic clock; every later call gives a later one.
        limits: see :class:`Limits`.
        spread: 0 to 1, where in the ping interval the first ping falls, so that connections
            made in the same second are not pinged in the same second for ever.
    """

    __slots__ = (
        "_bucket",
        "_excess",
        "_heartbeat",
        "_ids",
        "_is_performing",
        "_is_put_off",
        "_limits",
        "deadline",
        "expires_at",
        "state",
    )

    def __init__(self, now: float, limits: Limits, spread: float = 1.0) -> None:
        self.state = State.NEW
        #: When :meth:`tick` has to be called next.
        self.deadline = now + limits.connect_timeout
        #: When the credentials run out, None for never. The connection goes on a little longer.
        self.expires_at: float | None = None
        self._limits = limits
        self._heartbeat = Heartbeat(limits, spread)
        self._ids: deque[int] = deque(maxlen=REMEMBERED_IDS)
        self._bucket = Bucket(limits.command_rate, limits.command_burst, now)
        self._excess = 0
        #: The last ``connect`` was refused in a way that lets the client try again.
        self._is_put_off = False
        #: A request has been handed out, and what the client sends meanwhile is not read.
        self._is_performing = False

    def receive(self, frame: str, now: float) -> Iterator[Effect]:
        """Take a text frame of the client.

        Effects come one by one, and each is to be carried out before the next is asked for: a
        command may depend on what became of the one before it in the same frame.
        """
        if self.is_closed:
            return
        if is_longer(frame, self._limits.max_frame_size):
            yield from self.close(codes.MESSAGE_TOO_BIG)
            return
        try:
            for command in decode_frame(frame):
                if self.is_closed:
                    return
                yield from self.charge(1, now) if command is None else self._command(command, now)
        except BadFrame:
            yield from self.close(codes.BAD_FRAME)

    def receive_binary(self) -> list[Effect]:
        """Take a binary frame, which the JSON form does not have."""
        return [] if self.state is State.CLOSED else self.close(codes.INAPPROPRIATE_PROTOCOL)

    def charge(self, amount: float, now: float) -> list[Effect]:
        """Count what the client has sent besides commands.

        Args:
            amount: in commands.
        """
        if self.is_closed or self._bucket.afford(amount, now):
            return []
        return self._too_many(0)

    def answer(self, command_id: int, result: messages.Result, now: float) -> list[Effect]:
        """The result of a performed request."""
        self._is_performing = False
        if self.state is State.CLOSED:
            return []
        if isinstance(result, messages.ConnectResult):
            self._connected(now)
        if command_id == 0:  # a ``send`` command: nobody waits for an answer
            return []
        return [Send(encode_reply(messages.reply(command_id, result)))]

    def refuse(self, command_id: int, error: codes.Error) -> list[Effect]:
        """The error of a performed request."""
        self._is_performing = False
        if self.state is State.CLOSED:
            return []
        if self.state is State.CONNECTING:
            self.state = State.NEW
            self._is_put_off = error.temporary or error.code == codes.TOKEN_EXPIRED.code
        if command_id == 0:  # a ``send`` command has no answer, whatever became of it
            return []
        reply = messages.Reply(id=command_id, error=messages.ErrorReply(*error))
        return [Send(encode_reply(reply))]

    def close(self, disconnect: codes.Disconnect) -> list[Effect]:
        """End the connection with this code."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        return [Close(disconnect)]

    def tick(self, now: float, positions: dict[str, int] | None) -> list[Effect]:
        """Do what the clock asks for.

        The shell calls it when :attr:`deadline` has passed, and while :attr:`owes_ping` as soon
        as the socket has drained. If the ping cannot be written, it calls :meth:`take_back_ping`.

        Args:
            positions: what has been written so far, by channel; None while the socket takes
                nothing more, so that no ping can be written either.
        """
        if self.is_closed or (now < self.deadline and not self.owes_ping):
            return []
        if self.state in (State.NEW, State.CONNECTING):
            # If it is the server that is slow, a client that did its part may come back.
            is_ours = self.state is State.CONNECTING or self._is_put_off
            return self.close(codes.SERVER_ERROR if is_ours else codes.STALE)
        if self._ends_at is not None and now >= self._ends_at:
            return self.close(codes.EXPIRED)
        heartbeat = self._heartbeat
        if heartbeat.is_awaiting_pong:
            return self._end_or_wait(
                heartbeat.miss_pong(
                    now, is_blocked=positions is None, is_performing=self._is_performing
                )
            )
        if heartbeat.is_due(now):
            if positions is None:
                return self._end_or_wait(heartbeat.put_off(now))
            heartbeat.ping(now, positions)
            self._set_deadline()
            return [Send(PING)]
        self._set_deadline()
        return []

    def take_back_ping(self, now: float) -> list[Effect]:
        """The ping of the last :meth:`tick` could not be written: it counts as never sent."""
        if self.is_closed or not self._heartbeat.is_awaiting_pong:
            return []
        self._heartbeat.take_back()
        return self._end_or_wait(self._heartbeat.put_off(now))

    def share(self, bucket: Bucket) -> None:
        """Count commands together with those of other connections from now on."""
        self._bucket = bucket

    def renew(self, expires_at: float | None) -> None:
        """The client has shown credentials that last until ``expires_at``.

        It may show new ones until ``expired_close_delay`` after that: SDKs do so at the expiry,
        and the command and the new token take their time.
        """
        self.expires_at = expires_at
        if self.state is State.CONNECTED:
            self._set_deadline()

    @property
    def _ends_at(self) -> float | None:
        """When the connection is closed unless the client shows new credentials."""
        if self.expires_at is None:
            return None
        return self.expires_at + self._limits.expired_close_delay

    @property
    def is_closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def owes_ping(self) -> bool:
        """Has a ping come due that the socket did not take yet?"""
        return self._heartbeat.owes_ping

    def _command(self, command: messages.Command | messages.Malformed, now: float) -> list[Effect]:
        is_malformed = isinstance(command, messages.Malformed)
        requests = command.requests if isinstance(command, messages.Command) else []
        if command.id == 0 and not requests and not is_malformed:
            return self._pong(now)
        is_send = len(requests) == 1 and isinstance(requests[0], messages.SendRequest)
        if not self._bucket.afford(1, now):
            return self._too_many(command.id, is_send=is_send)
        if command.id:
            if command.id in self._ids:
                return self._refuse_unasked(command.id, codes.BAD_REQUEST)
            self._ids.append(command.id)
        if is_malformed or len(requests) > 1:
            return self._refuse_unasked(command.id, codes.BAD_REQUEST)
        if not requests:
            return self._refuse_unasked(command.id, codes.METHOD_NOT_FOUND)
        if command.id == 0 and not is_send:
            return self.close(codes.BAD_FRAME)
        return self._request(0 if is_send else command.id, requests[0])

    def _request(self, command_id: int, request: messages.Request) -> list[Effect]:
        if isinstance(request, messages.ConnectRequest):
            if self.state is not State.NEW:
                return self.close(codes.BAD_FRAME)
            self.state = State.CONNECTING
            return self._hand_out(command_id, request)
        if self.state is State.NEW and self._is_put_off:
            # SDKs send subscriptions along, and give them up on an error that is not temporary.
            return self._refuse_unasked(command_id, codes.INTERNAL) if command_id else []
        if self.state is not State.CONNECTED:
            return self.close(codes.BAD_FRAME)
        if isinstance(request, messages.PingRequest):
            reply = messages.reply(command_id, messages.PingResult())
            return [Send(encode_reply(reply))]
        return self._hand_out(command_id, request)

    def _hand_out(self, command_id: int, request: messages.Request) -> list[Effect]:
        self._is_performing = True
        return [Perform(command_id, request)]

    def _refuse_unasked(self, command_id: int, error: codes.Error) -> list[Effect]:
        """Refuse what was never handed out to be performed; the state stays as it is."""
        if command_id == 0:
            return self.close(codes.BAD_FRAME)
        reply = messages.Reply(id=command_id, error=messages.ErrorReply(*error))
        return [Send(encode_reply(reply))]

    def _pong(self, now: float) -> list[Effect]:
        if not self._heartbeat.is_awaiting_pong:
            # Late ones happen; any number of them for free would keep the server busy.
            return self.charge(1, now)
        positions = self._heartbeat.pong()
        self._set_deadline()
        return [Arrived(positions)]

    def _end_or_wait(self, disconnect: codes.Disconnect | None) -> list[Effect]:
        """End with this code; without one look again at the heartbeat's next deadline."""
        if disconnect is not None:
            return self.close(disconnect)
        self._set_deadline()
        return []

    def _connected(self, now: float) -> None:
        self.state = State.CONNECTED
        self._heartbeat.start(now)
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline = self._heartbeat.deadline
        if self._ends_at is not None:
            self.deadline = min(self.deadline, self._ends_at)

    def _too_many(self, command_id: int, *, is_send: bool = False) -> list[Effect]:
        self._excess += 1
        if self._excess > PATIENCE or (command_id == 0 and not is_send):
            return self.close(codes.TOO_MANY_COMMANDS)
        if is_send:
            return []
        return self._refuse_unasked(command_id, codes.TOO_MANY_REQUESTS)
