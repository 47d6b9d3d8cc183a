"""The operations of the REST API. They translate; the work is in :mod:`notifications.inbox`."""

from typing import Annotated, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from ninja import NinjaAPI, Path, Query

from ... import inbox
from ...conf import app_settings
from ...connect.tokens import make_token
from ...streams import names as stream_names
from . import schemas
from .answers import problems, problems_of_post
from .authentication import Session, Token
from .problems import Problem, install, wrong_argument

#: Seconds for which a fresh connection token is valid.
TOKEN_LIFETIME = 3600

TOKENS = Token()
SESSIONS = Session()

api = NinjaAPI(
    title="Notifications",
    version="1",
    description=(
        "The inbox of the user who asks: list notifications, change their read state, follow "
        "topics. Each error has a body of the same shape: problem details (RFC 9457)."
    ),
    auth=[TOKENS, SESSIONS],
    # The document and its page have views of their own, see urls.py.
    openapi_url=None,
    docs_url=None,
)
install(api)

#: GET answers HEAD too (RFC 9110, section 9.3.2).
READ = ["GET", "HEAD"]


#: The problems of a body that is expected.
BODY = (400, 422)


@api.api_operation(
    READ,
    "/notifications",
    operation_id="listNotifications",
    summary="List notifications",
    tags=["Notifications"],
    response=schemas.Page,
    openapi_extra=problems(422),
)
def list_notifications(request: HttpRequest, listing: Query[schemas.Listing]) -> Any:
    """A page of a folder, newest first. Ask for the next page with the cursor in `next`."""
    user = _user(request)
    # Who misspells "cursor" would get the first page for ever.
    if unknown := request.GET.keys() - schemas.Listing.model_fields.keys():
        raise wrong_argument(f"query.{min(unknown)}", "There is no such argument.")
    try:
        page = inbox.list_entries(user, listing.folder, listing.cursor, listing.limit)
    except ValueError:
        raise wrong_argument("query.cursor", "This is not the next of a page.") from None
    return {
        "notifications": [inbox.describe_entry(entry) for entry in page.entries],
        "next": page.next or None,
        "unread": inbox.unread_count(user),
    }


@api.api_operation(
    READ,
    "/notifications/{id}",
    operation_id="getNotification",
    summary="Get a notification",
    tags=["Notifications"],
    response=schemas.Notification,
    openapi_extra=problems(404, 422),
)
def get_notification(
    request: HttpRequest,
    id: Annotated[schemas.NotificationId, Path()],  # noqa: A002 - its name in the document
) -> Any:
    """A notification in your inbox or archive. It does not become read."""
    entry = inbox.find_entry(_user(request), id)
    if entry is None:
        raise Problem(404, "There is no such notification in your inbox.")
    return inbox.describe_entry(entry)


@api.api_operation(
    READ,
    "/counts",
    operation_id="countNotifications",
    summary="Count notifications",
    tags=["Notifications"],
    response=schemas.Counts,
    openapi_extra=problems(),
)
def count_notifications(request: HttpRequest) -> Any:
    """How many notifications each folder has."""
    counts = inbox.count_folders(_user(request))
    return {**counts._asdict(), "most": app_settings.MAX_UNREAD_COUNT}


@api.post(
    "/read",
    operation_id="markRead",
    summary="Mark notifications as read",
    tags=["Changes"],
    response=schemas.Changed,
    openapi_extra=problems_of_post(*BODY),
)
def mark_read(request: HttpRequest, change: schemas.Change) -> Any:
    """Answers with the ids of those that were unread before."""
    return _changed(request, inbox.mark_read(_user(request), change.ids))


@api.post(
    "/unread",
    operation_id="markUnread",
    summary="Mark notifications as unread",
    tags=["Changes"],
    response=schemas.Changed,
    openapi_extra=problems_of_post(*BODY),
)
def mark_unread(request: HttpRequest, change: schemas.Change) -> Any:
    """They leave the archive. Answers with the ids of those that were read or archived before."""
    return _changed(request, inbox.mark_unread(_user(request), change.ids))


@api.post(
    "/archive",
    operation_id="archive",
    summary="Archive notifications",
    tags=["Changes"],
    response=schemas.Changed,
    openapi_extra=problems_of_post(*BODY),
)
def archive(request: HttpRequest, change: schemas.Change) -> Any:
    """They are read, too. Answers with the ids of those that were not archived before."""
    return _changed(request, inbox.archive(_user(request), change.ids))


@api.post(
    "/read-all",
    operation_id="markAllRead",
    summary="Mark all notifications as read",
    tags=["Changes"],
    response=schemas.Recounted,
    openapi_extra=problems_of_post(),
)
def read_all(request: HttpRequest) -> Any:
    """Those that are in the inbox now; later ones stay unread."""
    inbox.read_all(_user(request))
    return _recounted(request)


@api.post(
    "/archive-all",
    operation_id="archiveAll",
    summary="Archive all notifications",
    tags=["Changes"],
    response=schemas.Recounted,
    openapi_extra=problems_of_post(),
)
def archive_all(request: HttpRequest) -> Any:
    """Those that are in the inbox now."""
    inbox.archive_all(_user(request))
    return _recounted(request)


@api.post(
    "/mute",
    operation_id="muteChannel",
    summary="Mute or unmute a channel",
    tags=["Channels"],
    response=schemas.Recounted,
    openapi_extra=problems_of_post(*BODY, 404),
)
def mute(request: HttpRequest, muting: schemas.Muting) -> Any:
    """A muted channel is still listed, but not pushed, and does not count as unread.

    Unmuting marks everything in it as read.
    """
    _check_channel(muting.channel)
    if not inbox.mute(_user(request), muting.channel, muting.muted):
        raise Problem(404, "You have no such channel.")
    return _recounted(request)


@api.api_operation(
    READ,
    "/topics",
    operation_id="listTopics",
    summary="List topics",
    tags=["Channels"],
    response=schemas.Topics,
    openapi_extra=problems(),
)
def list_topics(request: HttpRequest) -> Any:
    """The topics that you follow, and those that the site offers to you."""
    return {
        "topics": [
            {
                "channel": topic.channel,
                "followed": topic.is_followed,
                "muted": topic.is_muted,
                "readable": topic.is_readable,
            }
            for topic in inbox.topics(_user(request))
        ]
    }


@api.post(
    "/topics/join",
    operation_id="joinTopic",
    summary="Follow a topic",
    tags=["Channels"],
    response=schemas.Joined,
    openapi_extra=problems_of_post(*BODY, 404, 409),
)
def join_topic(request: HttpRequest, topic: schemas.ChosenTopic) -> Any:
    """From now on, on all of your devices."""
    _check_topic(topic.channel)
    try:
        joined = inbox.join(_user(request), topic.channel)
    except PermissionDenied:
        raise Problem(403, "You may not read this topic.") from None
    except inbox.TooManyTopics:
        raise Problem(409, "You cannot follow more topics. Leave another one first.") from None
    return {"joined": joined, **_recounted(request)}


@api.post(
    "/topics/leave",
    operation_id="leaveTopic",
    summary="Leave a topic",
    tags=["Channels"],
    response=schemas.Left,
    openapi_extra=problems_of_post(*BODY, 404),
)
def leave_topic(request: HttpRequest, topic: schemas.ChosenTopic) -> Any:
    """On all of your devices, and in the inbox."""
    _check_topic(topic.channel)
    left = inbox.leave(_user(request), topic.channel)
    return {"left": left, **_recounted(request)}


@api.post(
    "/token",
    auth=SESSIONS,
    operation_id="makeToken",
    summary="Get a connection token",
    tags=["Connection"],
    response=schemas.FreshToken,
    openapi_extra=problems_of_post(404),
)
def make_connection_token(request: HttpRequest) -> Any:
    """For the socket, and for this API. It needs a session: a token cannot prolong itself."""
    if not app_settings.TOKEN_SECRET:
        raise Problem(404, "This site makes no tokens: TOKEN_SECRET is not set.")
    return {"token": make_token(_user(request), TOKEN_LIFETIME), "expires_in": TOKEN_LIFETIME}


def _user(request: HttpRequest) -> Any:
    """The user whom one of the authenticators has found."""
    return request.auth  # type: ignore[attr-defined]


def _changed(request: HttpRequest, ids: list[int]) -> dict[str, Any]:
    return {"ids": ids, **_recounted(request)}


def _recounted(request: HttpRequest) -> dict[str, Any]:
    return {"unread": inbox.unread_count(_user(request))}


def _check_channel(name: str) -> str:
    """Return the kind of a channel.

    Raises:
        Problem: no channel can have this name.
    """
    try:
        return stream_names.parse(name).kind
    except stream_names.UnknownStream:
        raise Problem(404, "There is no such channel.") from None


def _check_topic(name: str) -> None:
    if _check_channel(name) != "topic":
        raise Problem(404, "This channel is not a topic.")
