"""``/emulation``: what clients of :mod:`notifications.transports.emulated` send."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from ..conf import app_settings, layer_is_in_memory
from ..hub import get_hub
from ..hub.emulation import Unknown, Unreachable
from ..hub.sockets.bodies import Answer
from ..protocol import client_pb2 as pb
from .endpoint import Endpoint, Refused

#: The ids of processes; see :attr:`notifications.hub.emulation.Emulation.node`.
NODE = re.compile(r"[0-9a-f]{32}\Z")

#: Bytes of a body besides its frame, which JSON may make twice as long.
OVERHEAD = 1024


class Sent(NamedTuple):
    """``EmulationRequest`` of ``client.proto`` in either form. ``data`` is one frame."""

    session: str
    node: str
    data: str | bytes


class JSONRequest(msgspec.Struct):
    session: str
    node: str
    data: str


_decoder = msgspec.json.Decoder(JSONRequest)


class Emulate(Endpoint):
    """A POST with a frame for a session, which another process may have.

    204 means that the session will get it; from another process also that it was passed on, and
    then nothing is known of the session. A client whose session has ended learns it by the end of
    its response.
    """

    @property
    def max_body_size(self) -> int:
        return 2 * app_settings.MAX_FRAME_SIZE + OVERHEAD

    async def handle(self, body: bytes) -> None:
        request = _bounded(_read_binary(body) if self.is_binary else _read(body))
        hub = await get_hub()
        if request.node == hub.emulation.node:
            try:
                is_taken = hub.emulation.take(request.session, request.data)
            except Unknown:
                raise Refused(404, "there is no such session") from None
            if not is_taken:
                raise Refused(429, "too many commands are waiting")
        elif layer_is_in_memory(app_settings.CHANNEL_LAYER):
            raise Refused(404, "there is no such node")
        else:
            try:
                await hub.emulation.forward(request.node, request.session, request.data)
            except Unreachable:
                raise Refused(503, "other nodes cannot be reached now") from None
        await self.answer(Answer(204, [(b"cache-control", b"no-store")], b""))


def _read(body: bytes) -> Sent:
    try:
        return Sent(*msgspec.structs.astuple(_decoder.decode(body)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused(400, "the body is not an emulation request") from None


def _read_binary(body: bytes) -> Sent:
    try:
        message = pb.EmulationRequest.FromString(body)
    except DecodeError:
        raise Refused(400, "the body is not an emulation request") from None
    return Sent(message.session, message.node, message.data)


def _bounded(request: Sent) -> Sent:
    """Check what may be in a request.

    Raises:
        Refused: no session has such a name, or the frame is too large.
    """
    if not NODE.match(request.node) or not 0 < len(request.session) <= 64:
        raise Refused(404, "there is no such session")
    data = request.data
    size = len(data if isinstance(data, bytes) else data.encode(errors="surrogatepass"))
    if size > app_settings.MAX_FRAME_SIZE:
        raise Refused(413, f"a frame may have {app_settings.MAX_FRAME_SIZE} bytes")
    return request
