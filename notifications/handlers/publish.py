"""`publish`: a private message or a broadcast from a client."""

from typing import Any

import msgspec
from django.core.exceptions import ValidationError

from ..hub import Connection, Hub
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..publishing import notify as publishing
from ..streams import access, topics
from ..streams import names as stream_names
from .outcome import Outcome
from .procedures import decode
from .users import current_user


class PublishData(msgspec.Struct, forbid_unknown_fields=True):
    """The ``data`` of a client's ``publish``."""

    title: str
    body: str = ""
    url: str = ""
    kind: str = "message"
    level: str = "info"
    data: dict[str, Any] = {}
    key: str | None = None


async def publish(hub: Hub, connection: Connection, request: commands.PublishRequest) -> Outcome:
    """Publish a private message or a broadcast durably, if the user has the permission."""
    try:
        stream_names.parse(request.channel)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    data = decode(bytes(request.data), PublishData)
    await hub.turns.run(connection.user_id, _publish, connection.user_id, request.channel, data)
    return Outcome(messages.PublishResult())


def _publish(user_id: Any, name: str, data: PublishData) -> None:
    user = current_user(user_id)
    if not access.may_publish(user, name) or not _can_be_read(name):
        raise ClientError(codes.PERMISSION_DENIED)
    if not access.has_audience(name):
        raise ClientError(codes.UNKNOWN_CHANNEL)
    try:
        publishing.publish(name, actor=user, **msgspec.structs.asdict(data))
    except ValidationError as error:
        raise ClientError(codes.BAD_REQUEST, ", ".join(error.message_dict)) from None


def _can_be_read(name: str) -> bool:
    """Return False for a topic that no user may read: only server code may publish to it."""
    kind, key = stream_names.parse(name)
    return kind != "topic" or topics.has_readers(key)
