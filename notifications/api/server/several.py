"""Several commands in one HTTP request: ``batch``, and the old route that names methods itself.

The commands are carried out one after the other. Each has an answer of its own, and none undoes
another one.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ...models import APIKey
from ...protocol.codes import ClientError
from .decoding import NULL, decode, decode_object
from .methods import MAX_WORK, METHODS, Budget, call, read, refusal
from .requests import Answer, BatchRequest, Command

#: Methods by the numbers that old clients call them by.
NUMBERS = (
    "publish",
    "broadcast",
    "unsubscribe",
    "disconnect",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "rpc",
    "subscribe",
    "refresh",
)


class TooMany(Exception):
    """A request has more commands than one may have."""


def batch(key: APIKey, body: bytes) -> bytes:
    """Carry out the commands of a batch.

    Args:
        key: whose scope each command is checked against.
        body: a :class:`~notifications.api.server.requests.BatchRequest` as JSON.

    Returns:
        ``{"replies": […]}``. A reply has the result under the name of the method, or an ``error``.

    Raises:
        ClientError: the body has another shape.
        TooMany: there are more than ``MAX_WORK`` commands; none was carried out.
    """
    commands = decode_object(body, BatchRequest).commands
    if len(commands) > MAX_WORK:
        raise TooMany
    budget = Budget()
    return msgspec.json.encode({"replies": [_reply(key, command, budget) for command in commands]})


def old_route(key: APIKey, body: bytes) -> bytes:
    """Carry out the commands that ``POST /api`` has: one, or one in each line.

    Returns:
        The answers, one in each line.

    Raises:
        ClientError: a line is not a command.
        TooMany: there are more than ``MAX_WORK`` lines; none was carried out.
    """
    commands = _commands(body)
    budget = Budget()
    return b"\n".join(msgspec.json.encode(_answer(key, one, budget)) for one in commands)


def _reply(key: APIKey, command: Raw, budget: Budget) -> dict[str, Any]:
    try:
        members = decode(bytes(command), dict[str, Raw])
    except ClientError as error:
        return {"error": refusal(error).error}
    name = next((name for name, value in members.items() if name in METHODS and value != NULL), "")
    answer = _call(key, name, members.get(name, Raw(b"{}")), budget)
    return {"error": answer.error} if answer.error else {name: answer.result}


def _commands(body: bytes) -> list[Command]:
    """The command that the body is, over any number of lines, or one in each line.

    Only a line feed ends a line: other line breaks would not be counted.
    """
    if body.count(b"\n") > MAX_WORK:
        raise TooMany
    try:
        return [decode_object(body, Command)]
    except ClientError:
        lines = [line for line in body.split(b"\n") if line.strip()]
        if len(lines) < 2:
            raise
    return [decode_object(line, Command) for line in lines]


def _answer(key: APIKey, command: Command, budget: Budget) -> Answer:
    method = command.method
    if isinstance(method, int):
        method = NUMBERS[method] if 0 <= method < len(NUMBERS) else ""
    answer = _call(key, method.lower(), command.params, budget)
    answer.id = command.id
    return answer


def _call(key: APIKey, name: str, data: Raw, budget: Budget) -> Answer:
    try:
        return call(key, name, read(name, bytes(data)), budget)
    except ClientError as error:
        return refusal(error)
