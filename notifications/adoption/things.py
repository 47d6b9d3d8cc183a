"""The objects of the host that notifications of django-notifications are about."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, connections, router, transaction
from django.db.models import Model

from ..publishing import sentences

logger = logging.getLogger(__name__)

#: Characters of a name in ``data``, which has to hold several.
NAME_LENGTH = 1000


class Reference(NamedTuple):
    """A generic foreign key: the primary key of a content type, and that of an object as text."""

    type: Any
    id: str


class Thing(NamedTuple):
    """An object as a notification names it.

    Args:
        type: of its model, such as ``blog.post``.
        id: its primary key, as text.
        name: what the object calls itself; else its type and primary key.
        url: its page, "" for none.
        user: itself if it is a user, else None.
        is_named: the object is there and has a name.
    """

    type: str
    id: str
    name: str
    url: str = ""
    user: Any = None
    is_named: bool = True

    def __str__(self) -> str:
        return self.name

    def describe(self) -> dict[str, str]:
        """As it stands in ``data``; see :func:`notifications.publishing.sentences.details`."""
        is_long = len(self.name) > NAME_LENGTH
        name = self.name[: NAME_LENGTH - 1] + "…" if is_long else self.name
        return {"type": self.type, "id": self.id, "name": name}


def find_things(alias: str, references: Iterable[Reference]) -> dict[Reference, Thing]:
    """Look up objects, with one query for each of their models.

    Whatever a host's code raises on naming one, it is named by its type and primary key then.

    Args:
        alias: of the database with the content types.
        references: any number; those that are alike are looked up once.
    """
    by_type: dict[Any, set[str]] = defaultdict(set)
    for reference in references:
        by_type[reference.type].add(reference.id)
    types = ContentType.objects.using(alias).in_bulk(list(by_type))
    found: dict[Reference, Thing] = {}
    for type_id, ids in by_type.items():
        content_type = types.get(type_id)
        objects = {} if content_type is None else _objects(alias, content_type, ids)
        names = _names(alias, objects)
        for pk in ids:
            thing = _thing(content_type, pk, objects.get(pk), names.get(pk))
            found[Reference(type_id, pk)] = thing
    return found


def _objects(alias: str, content_type: ContentType, ids: Iterable[str]) -> dict[str, Any]:
    """The objects that are there, by their primary keys as text."""
    model = content_type.model_class()
    if model is None:
        return {}
    key = model._meta.pk
    # One key may be written in several ways, such as "7" and "07".
    wanted: dict[Any, list[str]] = defaultdict(list)
    for text in ids:
        try:
            wanted[key.to_python(text)].append(text)
        except (ValidationError, ValueError, TypeError):
            continue  # the primary key is of another type by now
    try:
        rows = _rows(alias, model, list(wanted))
    except Exception as error:
        logger.warning("%s cannot be read: %s", model._meta.label, type(error).__name__)
        return {}
    return {text: row for row in rows for text in wanted.get(row.pk, ())}


def _rows(alias: str, model: type[Model], keys: Sequence[Any]) -> list[Any]:
    """Rows by primary key, without those keys that no row can have, such as a huge number."""
    try:
        with _savepoint(alias):
            rows = model._base_manager.filter(pk__in=keys)
            # A replica may lack some of them yet.
            return list(rows.using(router.db_for_write(model)))
    except (DataError, OverflowError, TypeError, ValueError):
        if len(keys) == 1:
            return []
    middle = len(keys) // 2
    return _rows(alias, model, keys[:middle]) + _rows(alias, model, keys[middle:])


def _names(alias: str, objects: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What objects call themselves, and their pages, without those that raise.

    A failed query ends a transaction of PostgreSQL, unless a savepoint lies before it: one for all,
    and where that is needed one for each.
    """
    try:
        with _savepoint(alias):
            return {pk: said for pk, thing in objects.items() if (said := _say(thing))}
    except DatabaseError:
        if len(objects) == 1:
            return {}
    found: dict[str, tuple[str, str]] = {}
    for pk, thing in objects.items():
        found |= _names(alias, {pk: thing})
    return found


def _say(thing: Any) -> tuple[str, str] | None:
    """Ask one object.

    Raises:
        DatabaseError: it has asked the database, which has refused.
    """
    try:
        name = str(thing)
    except DatabaseError:
        raise
    except Exception:
        return None
    try:
        return name, sentences.link(thing)
    except DatabaseError:
        raise
    except Exception:
        return name, ""


def _thing(
    content_type: ContentType | None, pk: str, thing: Any, said: tuple[str, str] | None
) -> Thing:
    label = "object" if content_type is None else f"{content_type.app_label}.{content_type.model}"
    kind = "object" if content_type is None else content_type.name
    user = thing if isinstance(thing, get_user_model()) else None
    if said is None:
        return Thing(label, pk, f"{kind} {pk}", user=user, is_named=False)
    name, url = said
    return Thing(label, pk, name, url, user)


def _savepoint(alias: str) -> AbstractContextManager[object]:
    """A savepoint in a transaction; nothing outside of any."""
    in_transaction = connections[alias].in_atomic_block
    return transaction.atomic(using=alias) if in_transaction else nullcontext()
