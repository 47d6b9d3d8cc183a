"""The template tags and filters, from the library itself."""

import inspect
from collections.abc import Callable
from typing import Any

from notifications.templatetags import notifications as library

from .rst import code, docstring, heading, item


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
    return "".join(parts)


def _use(name: str, tag: Callable[..., Any]) -> str:
    """The tag with its arguments and their defaults, as a template writes them; "" without any."""
    parameters = list(inspect.signature(tag).parameters.values())[1:]
    given = " ".join(f"{parameter.name}={parameter.default!r}" for parameter in parameters)
    return f"{{% {name} {given} %}}" if given else ""


def _about(used: Callable[..., Any], use: str = "") -> str:
    about = docstring(inspect.unwrap(used), leave_out=("context",))
    return f"{code(use)}\n\n{about}"
