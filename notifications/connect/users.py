"""Reads users by primary key, as every command and every connect does."""

from collections.abc import Collection
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Manager, Model

from ..database.compiled import Compiled


def read_users(keys: Collection[Any]) -> dict[Any, Any]:
    """Read users with the default manager of the user model.

    Args:
        keys: primary keys.

    Returns:
        The users that exist, by primary key.

    Raises:
        DataError: a key does not fit the column.
    """
    model = get_user_model()
    manager = model._default_manager
    if not _is_plain(manager):
        return manager.in_bulk(list(keys))
    using = manager.db
    fields = _field_names(model)
    rows = _query(model).rows(using, keys)
    return {user.pk: user for user in (model.from_db(using, fields, row) for row in rows)}


def _is_plain(manager: Any) -> bool:
    """Return whether the manager's query never changes; a project's own may depend on anything."""
    return type(manager).get_queryset is Manager.get_queryset


@cache
def _query(model: type[Model]) -> Compiled:
    """The query for users, which takes the ORM ten times as long as to read one of them."""
    key = model._meta.pk
    assert key is not None
    return Compiled(
        lambda using, condition: (
            model._default_manager.using(using)
            .filter(condition)
            .order_by()
            .values_list(*_field_names(model))
        ),
        lambda: key,
        f'"{key.model._meta.db_table}"."{key.column}"',
    )


@cache
def _field_names(model: type[Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]
