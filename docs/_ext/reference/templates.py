"""The template tags and filters, from the library itself."""

import inspect
from collections.abc import Callable
from typing import Any

from notifications.templatetags import notifications as library
from notifications.templatetags import notifications_tags as familiar

from .rst import code, docstring, heading, item, table


def tags() -> dict[str, Callable[..., Any]]:
    """The functions behind the tags, by name."""
    return {name: getattr(library, name) for name in library.register.tags}


def filters() -> dict[str, Callable[..., Any]]:
    return dict(library.register.filters)


def write() -> str:
    parts = [heading("Tags")]
    parts += [
        item("templatetag", name, _about(tag, _use(name, tag))) for name, tag in tags().items()
    ]
    parts += [heading("Filters")]
    parts += [item("templatefilter", name, _about(used)) for name, used in filters().items()]
    parts += [heading("For sites that come from django-notifications"), _table()]
    return "".join(parts)


def _table() -> str:
    """The tags and filters of the second library; some have the names of the first."""
    used = {name: getattr(familiar, name) for name in familiar.register.tags}
    used |= familiar.register.filters
    rows = [(code(name), docstring(inspect.unwrap(one))) for name, one in used.items()]
    about = "``{% load notifications_tags %}`` has the names that these sites know.\n\n"
    return about + table(("tag or filter", "what it does"), rows)


def _use(name: str, tag: Callable[..., Any]) -> str:
    """The tag with its arguments and their defaults, as a template writes them; "" without any."""
    parameters = list(inspect.signature(tag).parameters.values())[1:]
    given = " ".join(f"{parameter.name}={parameter.default!r}" for parameter in parameters)
    return f"{{% {name} {given} %}}" if given else ""


def _about(used: Callable[..., Any], use: str = "") -> str:
    about = docstring(inspect.unwrap(used), leave_out=("context",))
    return f"{code(use)}\n\n{about}"
