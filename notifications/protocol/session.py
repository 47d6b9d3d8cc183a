"""One connection's state machine, without I/O: frames in, effects out.

The session knows the protocol, but no socket, database, clock or random source. Frames, results
and the time are passed in, and the session returns effects. The shell
(:mod:`notifications.shell`) carries them out:

:class:`Send`      write this reply, in the form that the client speaks
:class:`Perform`   carry out a request, then call :meth:`Session.answer` or :meth:`Session.refuse`
:class:`Arrived`   the client has received everything up to these positions
:class:`Close`     end the connection

:mod:`~notifications.protocol.heartbeat` decides when a ping is due and what a pong acknowledges.
"""

from collections.abc import Iterator
from enum import Enum, auto

from . import codes, commands, messages
from .bucket import Bucket
from .codec import BadFrame, Codec, is_longer
from .effects import Arrived, Close, Effect, Limits, Perform, Send
from .heartbeat import Heartbeat

#: Number of recent command ids that a client may not reuse.
REMEMBERED_IDS = 64

#: Commands beyond the rate limit that a connection survives.
MAX_EXCESS_COMMANDS = 1000


class State(Enum):
    NEW = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class Session:
    """The protocol state of one connection.

    Args:
        codec: the form of the protocol that the client speaks.
        now: seconds of a monotonic clock, as in every later call.
        limits: see :class:`~notifications.protocol.effects.Limits`.
        spread: delay of the first ping, as a fraction (0 to 1) of the ping interval, so that
            connections made in the same second are not pinged in the same second for ever.
    """

    __slots__ = (
        "_bucket",
        "_excess",
        "_heartbeat",
        "_ids",
        "_is_performing",
        "_limits",
        "_may_retry_connect",
        "codec",
        "deadline",
        "expires_at",
        "state",
    )

    def __init__(self, codec: Codec, now: float, limits: Limits, spread: float = 1.0) -> None:
        self.codec = codec
        self.state = State.NEW
        #: When :meth:`tick` must be called next.
        self.deadline = now + limits.connect_timeout
        #: When the credentials expire; None for never. See :meth:`renew` for the grace period.
        self.expires_at: float | None = None
        self._limits = limits
        self._heartbeat = Heartbeat(limits, spread, awaits_pongs=not codec.is_one_way)
        #: Recent command ids. (A deque takes 0.7 KB as soon as there is one.)
        self._ids: tuple[int, ...] = ()
        self._bucket = Bucket(limits.command_rate, limits.command_burst, now)
        self._excess = 0
        #: The last ``connect`` was refused with an error after which the client retries.
        self._may_retry_connect = False
        #: A request is being performed. Until it is answered, no further frames are read.
        self._is_performing = False

    def receive(self, frame: str | bytes, now: float) -> Iterator[Effect]:
        """Process a frame of the client, and yield the effects one by one.

        Carry out each effect before advancing the iterator: a command may depend on the outcome
        of the one before it in the same frame.
        """
        if self.is_closed:
            return
        if isinstance(frame, bytes) is not self.codec.is_binary:
            yield from self.close(codes.INAPPROPRIATE_PROTOCOL)
            return
        if is_longer(frame, self._limits.max_frame_size):
            yield from self.close(codes.MESSAGE_TOO_BIG)
            return
        yield from self.charge(self._limits.cost_of_size(frame), now)
        if self.is_closed:
            return
        try:
            for command in self.codec.decode(frame):
                if self.is_closed:
                    return
                yield from self.charge(1, now) if command is None else self._command(command, now)
        except BadFrame:
            yield from self.close(codes.BAD_FRAME)

    def charge(self, amount: float, now: float) -> list[Effect]:
        """Count what the client has sent besides commands against its rate limit.

        Args:
            amount: the cost, in commands.
            now: seconds of the session's clock.
        """
        if self.is_closed or self._bucket.try_take(amount, now):
            return []
        return self._reject_excess(0)

    def answer(self, command_id: int, result: messages.Result, now: float) -> list[Effect]:
        """Reply to a performed request with its result."""
        self._is_performing = False
        if self.state is State.CLOSED:
            return []
        if isinstance(result, messages.ConnectResult):
            self.state = State.CONNECTED
            self._heartbeat.start(now)
            self._set_deadline()
        if command_id == 0:  # a ``send`` command has no reply
            return []
        return [Send(messages.reply(command_id, result))]

    def refuse(self, command_id: int, error: codes.Error) -> list[Effect]:
        """Reply to a performed request with an error; close a client that only listens."""
        self._is_performing = False
        if self.state is State.CLOSED:
            return []
        if self.codec.is_one_way:
            return self.close(codes.disconnect_for(error))
        if self.state is State.CONNECTING:
            self.state = State.NEW
            self._may_retry_connect = error.temporary or error.code == codes.TOKEN_EXPIRED.code
        if command_id == 0:  # a ``send`` command has no reply, even if it fails
            return []
        return [Send(messages.Reply(id=command_id, error=messages.ErrorReply(*error)))]

    def close(self, disconnect: codes.Disconnect) -> list[Effect]:
        """Close the connection with this code, if it is still open."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        return [Close(disconnect)]

    def tick(self, now: float, positions: dict[str, int] | None) -> list[Effect]:
        """Send a ping or close the connection, if either is due.

        The shell calls this method when :attr:`deadline` has passed and, while :attr:`owes_ping`,
        as soon as the socket has drained. If the ping cannot be written, the shell calls
        :meth:`take_back_ping`.

        Args:
            now: seconds of the session's clock.
            positions: the last offset written, by channel; None while the socket is blocked, so
                that no ping can be written either.
        """
        if self.is_closed or (now < self.deadline and not self.owes_ping):
            return []
        if self.state in (State.NEW, State.CONNECTING):
            # If the server is what is slow, the client may reconnect.
            is_ours = self.state is State.CONNECTING or self._may_retry_connect
            return self.close(codes.SERVER_ERROR if is_ours else codes.STALE)
        if self._ends_at is not None and now >= self._ends_at:
            return self.close(codes.EXPIRED)
        heartbeat = self._heartbeat
        if heartbeat.is_awaiting_pong:
            return self._end_or_wait(
                heartbeat.check_overdue_pong(
                    now, is_blocked=positions is None, is_performing=self._is_performing
                )
            )
        if heartbeat.is_due(now):
            if positions is None:
                return self._end_or_wait(heartbeat.postpone_ping(now))
            heartbeat.ping(now, positions)
            self._set_deadline()
            return [Send(messages.PING)]
        return self._end_or_wait(None)

    def take_back_ping(self, now: float) -> list[Effect]:
        """Take back the ping of the last :meth:`tick`, because it could not be written."""
        if self.is_closed or not self._heartbeat.is_awaiting_pong:
            return []
        self._heartbeat.take_back()
        return self._end_or_wait(self._heartbeat.postpone_ping(now))

    @property
    def is_awaiting_pong(self) -> bool:
        """Whether the client has to answer a ping, and nothing else of it is being performed."""
        return not (self.is_closed or self._is_performing) and self._heartbeat.is_awaiting_pong

    def take_pong(self) -> Arrived:
        """Process the pong that :attr:`is_awaiting_pong`, as :meth:`receive` would."""
        positions = self._heartbeat.pong()
        self._set_deadline()
        return Arrived(positions)

    def share(self, bucket: Bucket) -> None:
        """From now on, count commands in ``bucket``, which other connections may share."""
        self._bucket = bucket

    def renew(self, expires_at: float | None) -> None:
        """Record that the client's credentials are valid until ``expires_at``.

        The client may renew them until ``expired_close_delay`` seconds after that: SDKs do so at
        the expiry, and the new token and the command take time to arrive.

        Args:
            expires_at: seconds of the session's clock; None for never.
        """
        self.expires_at = expires_at
        if self.state is State.CONNECTED:
            self._set_deadline()

    @property
    def _ends_at(self) -> float | None:
        """When the connection is closed, unless the client renews its credentials."""
        if self.expires_at is None:
            return None
        return self.expires_at + self._limits.expired_close_delay

    @property
    def is_closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def owes_ping(self) -> bool:
        """Whether a ping is due that the socket has not accepted yet."""
        return self._heartbeat.owes_ping

    def _command(self, command: commands.Command | commands.Malformed, now: float) -> list[Effect]:
        is_malformed = isinstance(command, commands.Malformed)
        requests = command.requests if isinstance(command, commands.Command) else []
        if command.id == 0 and not requests and not is_malformed:
            # Late pongs are normal, but an unlimited number of free ones would load the server.
            return [self.take_pong()] if self._heartbeat.is_awaiting_pong else self.charge(1, now)
        is_send = len(requests) == 1 and isinstance(requests[0], commands.SendRequest)
        if not self._bucket.try_take(1, now):
            return self._reject_excess(command.id, is_send=is_send)
        if command.id:
            if command.id in self._ids:
                return self._reply_error(command.id, codes.BAD_REQUEST)
            self._ids = (*self._ids[1 - REMEMBERED_IDS :], command.id)
        if is_malformed or len(requests) > 1:
            return self._reply_error(command.id, codes.BAD_REQUEST)
        if not requests:
            return self._reply_error(command.id, codes.METHOD_NOT_FOUND)
        if command.id == 0 and not is_send:
            return self.close(codes.BAD_FRAME)
        return self._request(0 if is_send else command.id, requests[0])

    def _request(self, command_id: int, request: commands.Request) -> list[Effect]:
        if isinstance(request, commands.ConnectRequest):
            if self.state is not State.NEW:
                return self.close(codes.BAD_FRAME)
            self.state = State.CONNECTING
        elif self.state is State.NEW and self._may_retry_connect:
            # SDKs send their subscriptions in the same batch as ``connect``, and give up those
            # that get an error which is not temporary.
            return self._reply_error(command_id, codes.INTERNAL) if command_id else []
        elif self.state is not State.CONNECTED:
            return self.close(codes.BAD_FRAME)
        elif isinstance(request, commands.PingRequest):
            return [Send(messages.reply(command_id, messages.PingResult()))]
        self._is_performing = True
        return [Perform(command_id, request)]

    def _reply_error(self, command_id: int, error: codes.Error) -> list[Effect]:
        """Refuse a command that was never handed out to be performed; keep the state."""
        if command_id == 0:
            return self.close(codes.BAD_FRAME)
        return [Send(messages.Reply(id=command_id, error=messages.ErrorReply(*error)))]

    def _end_or_wait(self, disconnect: codes.Disconnect | None) -> list[Effect]:
        """Close with ``disconnect``; if it is None, wait for the heartbeat's next deadline."""
        if disconnect is not None:
            return self.close(disconnect)
        self._set_deadline()
        return []

    def _set_deadline(self) -> None:
        self.deadline = self._heartbeat.deadline
        if self._ends_at is not None:
            self.deadline = min(self.deadline, self._ends_at)

    def _reject_excess(self, command_id: int, *, is_send: bool = False) -> list[Effect]:
        self._excess += 1
        if self._excess > MAX_EXCESS_COMMANDS or (command_id == 0 and not is_send):
            return self.close(codes.TOO_MANY_COMMANDS)
        if is_send:
            return []
        return self._reply_error(command_id, codes.TOO_MANY_REQUESTS)
