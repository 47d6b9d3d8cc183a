"""The template tags and filters, from the library itself."""

import inspect
from collections.abc import Callable
from typing import Any

from notifications.templatetags import notifications as library

from .rst import docstring, heading, item


def tags() -> dict[str, Callable[..., Any]]:
    """The functions behind the tags, by name."""
    return {name: getattr(library, name) for name in library.register.tags}


def filters() -> dict[str, Callable[..., Any]]:
    return dict(library.register.filters)


def write() -> str:
    parts = [heading("Tags")]
    parts += [item("templatetag", _use(name, tag), _about(tag)) for name, tag in tags().items()]
    parts += [heading("Filters")]
    parts += [item("templatefilter", name, _about(used)) for name, used in filters().items()]
    return "".join(parts)


def _use(name: str, tag: Callable[..., Any]) -> str:
    """The tag with its arguments, as a template writes them."""
    parameters = list(inspect.signature(tag).parameters.values())[1:]
    return " ".join([name, *(f"{given.name}={given.default!r}" for given in parameters)])


def _about(used: Callable[..., Any]) -> str:
    return docstring(inspect.unwrap(used), leave_out=("context",))
