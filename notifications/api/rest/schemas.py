"""What the REST API takes and gives, as types: requests are checked by them, the OpenAPI document
is made from them.

Results are the dicts that the wire has too (see *Procedures* in docs/protocol.md), so that an app
needs one model for both. What is empty is left out of a notification there, and here.
"""

from datetime import datetime
from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field

# pydantic needs this one before Python 3.12.
from typing_extensions import TypedDict

from ...inbox import MAX_ID, MAX_IDS, MAX_PAGE, Folder
from ...options import LevelName

#: Where the document has the schema of a type.
REFERENCE = "#/components/schemas/{model}"

#: Characters of a cursor and of a channel at most.
MAX_CURSOR = 64
MAX_CHANNEL = 255

Ids = Annotated[
    list[Annotated[int, Field(strict=True)]],
    Field(
        max_length=MAX_IDS,
        description="Ids of notifications. Those that are not in your inbox change nothing.",
        examples=[[7, 8]],
    ),
]

Channel = Annotated[
    str,
    Field(max_length=MAX_CHANNEL, description="The name of a channel.", examples=["topic:news"]),
]

Unread = Annotated[
    int, Field(ge=0, description="Unread notifications, without those of muted channels.")
]

NotificationId = Annotated[int, Field(ge=1, le=MAX_ID, description="The id of a notification.")]


class _Arguments(BaseModel):
    """A body. A name that is misspelled is told, and not passed over."""

    model_config = ConfigDict(extra="forbid")


class Listing(BaseModel):
    """Which page of which folder."""

    folder: Folder = Field("all", description="`all` is everything that is not archived.")
    cursor: str = Field(
        "", max_length=MAX_CURSOR, description="The `next` of the page before; empty at first."
    )
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Notifications of the page at most.")


class Change(_Arguments):
    """Notifications to change."""

    ids: Ids


class Muting(_Arguments):
    """A channel to mute or to unmute."""

    channel: Channel
    muted: Annotated[bool, Field(strict=True)] = True


class ChosenTopic(_Arguments):
    """A topic to join or to leave."""

    channel: Channel


class Actor(TypedDict):
    """The user who caused a notification."""

    id: str
    name: str


class Notification(TypedDict):
    """A notification in your inbox or archive. What is empty is left out."""

    id: int
    kind: Annotated[str, Field(description="What it is about.", examples=["order.shipped"])]
    level: LevelName
    title: str
    body: NotRequired[str]
    url: NotRequired[Annotated[str, Field(description="Where it leads: a path or an address.")]]
    data: NotRequired[Annotated[dict[str, Any], Field(description="What the site added.")]]
    actor: NotRequired[Actor]
    created: datetime
    expires: NotRequired[datetime]
    channel: Annotated[str, Field(description="Its channel.", examples=["user:7"])]
    offset: Annotated[int, Field(description="Its place in the channel.")]
    published: datetime
    read: bool
    archived: bool


class Page(TypedDict):
    """A page of a folder, newest first."""

    notifications: list[Notification]
    next: Annotated[str | None, Field(description="The cursor of the next page; null at the end.")]
    unread: Unread


class Counts(TypedDict):
    """How many notifications each folder has, counted up to `most`."""

    unread: Unread
    all: Annotated[int, Field(ge=0, description="What is not archived.")]
    archived: Annotated[int, Field(ge=0, description="What is archived.")]
    most: Annotated[int, Field(ge=0, description="A count stops here.")]


class Changed(TypedDict):
    """The notifications that a change has changed, and the new count."""

    ids: list[int]
    unread: Unread


class Recounted(TypedDict):
    """The new count."""

    unread: Unread


class Topic(TypedDict):
    """A topic that you follow or may follow."""

    channel: str
    followed: bool
    muted: bool
    readable: Annotated[bool, Field(description="You may read it now; else it shows nothing.")]


class Topics(TypedDict):
    """All topics that you follow or may follow, by name."""

    topics: list[Topic]


class Joined(TypedDict):
    """What joining a topic has done."""

    joined: Annotated[bool, Field(description="False if you followed it already.")]
    unread: Unread


class Left(TypedDict):
    """What leaving a topic has done."""

    left: Annotated[bool, Field(description="False if you did not follow it.")]
    unread: Unread


class FreshToken(TypedDict):
    """A connection token, for the socket and for this API."""

    token: str
    expires_in: Annotated[int, Field(description="Seconds until it expires.")]


class Mistake(TypedDict):
    """An argument that is wrong."""

    place: Annotated[str, Field(examples=["body.ids.0"])]
    message: str


class ProblemDetails(TypedDict):
    """What went wrong (RFC 9457)."""

    title: str
    status: int
    detail: str
    errors: NotRequired[list[Mistake]]
