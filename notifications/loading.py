"""Fixtures: what ``loaddata`` brings is written as it is, and nothing besides.

Rows of a dump have their own primary keys. What the app would write by itself while they are
loaded stands in their way later. What then is missing is made when it is needed: a stream by the
first notification, a subscription by the next connect.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model

from .models import Stream, Subscription
from .streams import names as stream_names
from .streams import rows as stream_rows

#: An attribute of instances that a fixture has brought.
LOADED = "_notifications_loaded"

#: Kinds of streams whose owners were loaded last without their primary keys, by alias.
_renumbered: set[tuple[str, str]] = set()


class Renumbered(ValueError):
    """Streams are named by primary keys that their owners no longer have."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} may belong to somebody else here, because users or groups were dumped without "
            "their primary keys. Use dumpdata without --natural-primary, or exclude notifications."
        )


def is_loaded(instance: Any) -> bool:
    """Has a fixture brought this instance? Then its many-to-many rows come from there too.

    Signals of these do not tell: the deserializer sets them right after it has saved the instance.
    """
    return LOADED in vars(instance)


def prepare(instance: Model, using: str) -> None:
    """Before a row of a fixture is written.

    Args:
        instance: of any model.
        using: alias of the database.

    Raises:
        Renumbered: it would show a private stream to somebody else.
    """
    if isinstance(instance, get_user_model()):
        _note(instance, "user", using)
    elif isinstance(instance, Group):
        _note(instance, "group", using)
    elif isinstance(instance, Stream):
        if (using, stream_names.parse(instance.name).kind) in _renumbered:
            raise Renumbered(instance.name)
        _make_room(instance, using)
    elif isinstance(instance, Subscription):
        _check_owner(instance, using)


def _note(instance: Model, kind: str, using: str) -> None:
    setattr(instance, LOADED, True)
    if instance.pk is None:
        _renumbered.add((using, kind))
    else:
        _renumbered.discard((using, kind))


def _make_room(stream: Stream, using: str) -> None:
    """The streams that ``migrate`` makes may have other primary keys in the dump."""
    for other in Stream.objects.using(using).filter(name=stream.name).exclude(pk=stream.pk):
        if other.top == 0 and stream_rows.is_empty(other):
            other.delete()


def _check_owner(subscription: Subscription, using: str) -> None:
    rows = Stream.objects.using(using).filter(pk=subscription.stream_id)
    for name in rows.values_list("name", flat=True):
        if stream_names.is_private(name) and name != stream_names.user_stream(subscription.user_id):
            raise Renumbered(name)
