"""Checks that the paths of the transports fit together, and hide no page. They always run."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import URLPattern, URLResolver, get_resolver

from .. import paths
from ..conf import app_settings


@register
def check_transports(**kwargs: Any) -> list[CheckMessage]:
    """``E015``: ``TRANSPORTS`` has an unknown name, a bad path, or paths that do not fit."""
    if not isinstance(app_settings.TRANSPORTS, dict):
        return []  # E003 reports it
    prefix = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    return [
        Error(f"NOTIFICATIONS['TRANSPORTS']: {problem}.", id="notifications.E015")
        for problem in paths.problems_of(app_settings.TRANSPORTS, prefix)
    ]


@register(Tags.urls)
def check_pages(**kwargs: Any) -> list[CheckMessage]:
    """``W014``: a page of the site has the path of a transport, which is answered instead of it.

    Patterns that match more than this path, such as those of a CMS, are not reported.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    known = {name: path for name, path in paths.paths().items() if "websocket" not in name}
    return [
        Warning(
            f"The page at {route!r} cannot be reached: NOTIFICATIONS['TRANSPORTS'] has "
            f"{name!r} at {path!r}.",
            hint=f"Give {name!r} another path, or None to switch it off.",
            id="notifications.W014",
        )
        for route in _routes(get_resolver().url_patterns)
        for name, path in known.items()
        if (route.startswith(path) and route != path if name == paths.STREAMS else route == path)
    ]


def _routes(patterns: list[Any], before: str = "/") -> Iterator[str]:
    """Yield the routes of all pages, as they are written, with the parts that match anything."""
    for each in patterns:
        route = before + str(each.pattern).removeprefix("^")
        if isinstance(each, URLResolver):
            yield from _routes(each.url_patterns, route)
        elif isinstance(each, URLPattern):
            yield route.removesuffix(r"\Z").removesuffix("$")
