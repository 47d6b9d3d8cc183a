"""``history``: pages of a stream, for a backend that has no subscription."""

from ...conf import app_settings
from ...models import APIKey
from ...namespaces import namespace_of
from ...protocol import codes
from ...protocol.codes import ClientError
from ...protocol.commands import HistoryRequest
from ...streams import encoding
from ...streams import history as stream_history
from ...streams import rows as stream_rows
from ...streams.recovery import first_that_fit
from .channels import check_channel, without_audience
from .requests import HistoryResult

#: The top of a stream that nobody has used yet, or that is deleted.
NOTHING = stream_history.Top(epoch="", offset=0, revision=0)


def page_size(request: HistoryRequest) -> int:
    """The publications that a request asks for, at most ``PAGE_SIZE``."""
    limit = app_settings.PAGE_SIZE
    return limit if request.limit < 0 else min(request.limit, limit)


def read_history(key: APIKey, request: HistoryRequest) -> HistoryResult:
    """Read a page, forward or backward, and the stream's position.

    Raises:
        ClientError: the channel is refused, or the position cannot be resumed.
    """
    name = request.channel
    check_channel(key, name)
    _check_stored(name)
    stream_id = stream_rows.ids([name]).get(name, 0)  # no row has the primary key 0
    top = stream_history.read_tops([stream_id]).get(stream_id, NOTHING)
    _check_position(request, top)
    limit = page_size(request)
    found = first_that_fit(_read(stream_id, top, request, limit)) if limit else []
    return HistoryResult([entry.message() for entry in found], top.epoch, top.offset)


def _check_stored(name: str) -> None:
    namespace = namespace_of(name)
    if namespace is None and without_audience([name]):
        raise ClientError(codes.UNKNOWN_CHANNEL)
    if namespace is not None and not namespace.durable:
        raise ClientError(codes.NOT_AVAILABLE, "nothing is stored")


def _check_position(request: HistoryRequest, top: stream_history.Top) -> None:
    since = request.since
    if since is None:
        return
    last = top.offset + 1 if request.reverse else top.offset
    if since.epoch not in ("", top.epoch) or not top.floor <= since.offset <= last:
        raise ClientError(codes.UNRECOVERABLE_POSITION)


def _read(
    stream_id: int, top: stream_history.Top, request: HistoryRequest, limit: int
) -> list[encoding.Publication]:
    since = request.since
    if request.reverse:
        before = top.offset + 1 if since is None else since.offset
        return stream_history.read_back(stream_id, before, top.floor, limit)
    after = top.floor if since is None else since.offset
    return stream_history.read_after(stream_id, top, after, limit).publications
