"""Sentences in the words of django-notifications, as titles and data of notifications.

“<actor> <verb> <action_object> on <target>”, or “<actor> <verb> <target>”: a verb without an action
object has its preposition itself, as in “commented on”.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import Model

from ..models import validate_url
from ..texts import one_line

#: Maximum lengths of the fields of a notification, in characters.
TITLE_LENGTH = 200
BODY_LENGTH = 10_000
URL_LENGTH = 2000


class Wording(NamedTuple):
    """What a sentence becomes: one line, and the text below it."""

    title: str
    body: str


def word(actor: Any, verb: Any, action_object: Any, target: Any, description: str) -> Wording:
    """The title of an action, and its text.

    A sentence that is too long for a title is cut there, and stands in full at the beginning of
    the text, as far as that holds it beside the description.

    Args:
        actor: who or what has acted; anything with a name.
        verb: what was done.
        action_object: what it was done with, or None.
        target: what it was done to, or None.
        description: the text that the caller has given, "" for none.
    """
    words = f"{actor} {verb}"
    if action_object is not None:
        words += f" {action_object}"
    if target is not None:
        words += f" {target}" if action_object is None else f" on {target}"
    words = one_line(words)
    if len(words) <= TITLE_LENGTH:
        return Wording(words, description)
    title = words[: TITLE_LENGTH - 1] + "…"
    full = f"{words}\n\n{description}" if description else words
    return Wording(title, full if len(full) <= BODY_LENGTH else description)


def details(objects: Mapping[str, Any]) -> dict[str, Any]:
    """The objects of an action as ``data`` names them; those that are None are left out.

    Args:
        objects: by the name of their part, such as ``target``.
    """
    return {name: _described(thing) for name, thing in objects.items() if thing is not None}


def link(*things: Any) -> str:
    """The ``get_absolute_url()`` of the first of these that has one which a browser may follow."""
    return next((url for thing in things if (url := _link(thing))), "")


def _described(thing: Any) -> dict[str, str]:
    if not isinstance(thing, Model):
        return {"name": str(thing)}
    return {"type": thing._meta.label_lower, "id": str(thing.pk), "name": str(thing)}


def _link(thing: Any) -> str:
    if not hasattr(thing, "get_absolute_url"):
        return ""
    url = str(thing.get_absolute_url() or "")
    try:
        validate_url(url)
    except ValidationError:
        return ""
    return url if len(url) <= URL_LENGTH else ""
