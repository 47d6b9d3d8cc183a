"""JSON for pages that poll, as django-notifications answers it.

Each answer is of the user who asks, and is kept by no cache. GET changes nothing: what is listed is
marked as read by a POST.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .. import inbox
from ..inbox import Entry, Folder
from ..streams.encoding import describe_user

#: How many notifications are listed where ``max`` says nothing that makes sense.
LIST_SIZE = 10

#: What the data of a notification hold besides those of the host.
PARTS = ("actor", "action_object", "target")
OURS = frozenset((*PARTS, "verb", "timestamp", "public", "emailed"))

View = Callable[[HttpRequest], JsonResponse]
ContentTypes = Callable[[str], int | None]


def _count(name: str, count: Callable[[Any], int]) -> View:
    @never_cache
    @require_safe
    def view(request: HttpRequest) -> JsonResponse:
        user = request.user
        return JsonResponse({name: count(user) if user.is_authenticated else 0})

    return view


def _list(folder: Folder, name: str, count: Callable[[Any], int]) -> View:
    """Make a view of a folder.

    Args:
        folder: what is listed.
        name: what the names in the answer begin with.
        count: how many there are, listed or not.
    """

    @never_cache
    @_changes_by_post
    def view(request: HttpRequest) -> JsonResponse:
        user = request.user
        if not user.is_authenticated:
            return JsonResponse({f"{name}_count": 0, f"{name}_list": []})
        entries = inbox.list_entries(user, folder, limit=_limit(request)).entries
        # Django remembers content types, but not that one is unknown.
        content_type = cache(_content_type)
        listed = [_describe(entry, user, content_type) for entry in entries]
        if _asks_to_read(request):
            inbox.mark_read(user, [entry.notification.pk for entry in entries])
        return JsonResponse({f"{name}_count": count(user), f"{name}_list": listed})

    return view


def _changes_by_post(view: View) -> View:
    """Refuse to change anything by a GET, which a link or a picture on any page can cause."""

    @wraps(view)
    def checked(request: HttpRequest) -> JsonResponse:
        is_get = request.method in ("GET", "HEAD")
        if is_get and not _asks_to_read(request):
            return view(request)
        if request.method == "POST":
            return view(request)
        allowed = "POST" if is_get else "GET, HEAD, POST"
        error = "mark_as_read needs a POST request." if is_get else "Use GET or POST."
        return JsonResponse({"error": error}, status=405, headers={"Allow": allowed})

    return checked


def _asks_to_read(request: HttpRequest) -> bool:
    return bool(_parameter(request, "mark_as_read"))


def _limit(request: HttpRequest) -> int:
    text = _parameter(request, "max")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else LIST_SIZE
    return number if 1 <= number <= inbox.MAX_PAGE else LIST_SIZE


def _parameter(request: HttpRequest, name: str) -> str:
    return request.POST.get(name) or request.GET.get(name, "")


def _describe(entry: Entry, user: Any, content_type: ContentTypes) -> dict[str, Any]:
    """A notification as theirs: the columns of their table, and the names of what it is about."""
    row = entry.notification
    data: dict[str, Any] = row.data if isinstance(row.data, dict) else {}
    described: dict[str, Any] = {
        "id": row.pk,
        # Theirs is another number than the id; it stands in the addresses that change the row.
        "slug": row.pk,
        "recipient": user.pk,
        "level": row.level,
        "unread": not entry.read,
        # What was not sent in their words has a title in place of a verb.
        "verb": data.get("verb") or row.title,
        "description": row.body or None,
        "timestamp": data.get("timestamp") or row.published_at,
        "public": data.get("public", True),
        "deleted": entry.archived,
        "emailed": data.get("emailed", False),
        "data": {name: value for name, value in data.items() if name not in OURS} or None,
        "title": row.title,
        "url": row.url,
    }
    for name in PARTS:
        described |= _part(name, data.get(name), content_type)
    if row.actor is not None:
        described |= _actor(row.actor)
    return described


def _part(name: str, thing: Any, content_type: ContentTypes) -> dict[str, Any]:
    """What a notification is about; where it is about nothing, its name is left out."""
    thing = thing if isinstance(thing, dict) else {}
    fields = {
        f"{name}_content_type": _known(thing.get("type"), content_type),
        f"{name}_object_id": thing.get("id"),
    }
    return fields | ({name: thing["name"]} if thing.get("name") else {})


def _actor(user: Any) -> dict[str, Any]:
    kind = ContentType.objects.get_for_model(user)
    return {
        "actor": describe_user(user)["name"],
        "actor_content_type": kind.pk,
        "actor_object_id": str(user.pk),
    }


def _known(label: Any, content_type: ContentTypes) -> int | None:
    is_label = isinstance(label, str) and label.count(".") == 1
    return content_type(label) if is_label else None


def _content_type(label: str) -> int | None:
    """The primary key of a content type, None for one that is unknown."""
    try:
        return ContentType.objects.get_by_natural_key(*label.split(".")).pk
    except ContentType.DoesNotExist:
        return None


unread_count = _count("unread_count", inbox.unread_count)
all_count = _count("all_count", inbox.count_entries)
unread_list = _list("unread", "unread", inbox.unread_count)
all_list = _list("all", "all", inbox.count_entries)
