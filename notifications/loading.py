"""Loading fixtures: the rows of ``loaddata`` are written as they are, and no others.

Rows of a dump have their own primary keys. Rows that the app created while they are loaded could
conflict with them. What is missing afterwards is created when it is needed: a stream by the first
notification, a subscription by the next connect.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model

from .models import Stream, Subscription
from .streams import names as stream_names
from .streams import rows as stream_rows

#: Name of an attribute that marks instances from a fixture.
LOADED = "_notifications_loaded"

#: Pairs of database alias and kind of stream (``user``, ``group``) whose last loaded owner had no
#: primary key.
_renumbered: set[tuple[str, str]] = set()


class Renumbered(ValueError):
    """The owners of streams have lost the primary keys in the names of their streams."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} may belong to somebody else here, because users or groups were dumped without "
            "their primary keys. Use dumpdata without --natural-primary, or exclude notifications."
        )


def is_loaded(instance: Any) -> bool:
    """Return whether a fixture contains this instance, and so its many-to-many rows, too.

    The signals of many-to-many rows do not say that: the deserializer sets the rows right after it
    has saved the instance.
    """
    return LOADED in vars(instance)


def prepare(instance: Model, using: str) -> None:
    """Prepare for a row of a fixture, before it is written.

    Args:
        instance: an instance of any model.
        using: alias of the database.

    Raises:
        Renumbered: the row could show a stream to somebody else than its owner.
    """
    if isinstance(instance, get_user_model()):
        _remember_owner(instance, "user", using)
    elif isinstance(instance, Group):
        _remember_owner(instance, "group", using)
    elif isinstance(instance, Stream):
        if (using, instance.name.partition(":")[0]) in _renumbered:
            raise Renumbered(instance.name)
        _delete_unused(instance, using)
    elif isinstance(instance, Subscription):
        _check_owner(instance, using)


def _remember_owner(instance: Model, kind: str, using: str) -> None:
    setattr(instance, LOADED, True)
    if instance.pk is None:
        _renumbered.add((using, kind))
    else:
        _renumbered.discard((using, kind))


def _delete_unused(stream: Stream, using: str) -> None:
    """Delete an unused stream of this name: one that ``migrate`` made has another primary key."""
    for other in Stream.objects.using(using).filter(name=stream.name).exclude(pk=stream.pk):
        if other.top == 0 and stream_rows.is_empty(other):
            other.delete()


def _check_owner(subscription: Subscription, using: str) -> None:
    rows = Stream.objects.using(using).filter(pk=subscription.stream_id)
    for name in rows.values_list("name", flat=True):
        if stream_names.is_private(name) and name != stream_names.user_stream(subscription.user_id):
            raise Renumbered(name)
