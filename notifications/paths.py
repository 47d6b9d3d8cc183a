"""Where each transport is: the setting ``TRANSPORTS``, and defaults for what it leaves out.

>>> NOTIFICATIONS = {"TRANSPORTS": {"emulation": "/live/emulation", "uni_sse": None}}

A path belongs to the app, whatever the method of the request; those of websockets, for websockets
only. All other paths are those of the host.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.urls import get_script_prefix

from .conf import app_settings

#: The default paths, below the prefix of the site; None for a transport that is off. ``streams`` is
#: what the paths of streams begin with, and so takes all pages below it from the host.
DEFAULTS: dict[str, str | None] = {
    "websocket": "/connection/websocket",
    "http_stream": "/connection/http_stream",
    "sse": "/connection/sse",
    "emulation": "/emulation",
    "uni_websocket": "/connection/uni_websocket",
    "uni_sse": "/connection/uni_sse",
    "uni_http_stream": "/connection/uni_http_stream",
    "streams": None,
}

#: The transports of the browser client, in the order in which it tries them.
BROWSER = ("websocket", "http_stream", "sse")

#: Transports whose clients send their frames to ``emulation``.
EMULATED = ("http_stream", "sse")

#: The transport that has more than one path: one for each stream.
STREAMS = "streams"

#: A part of a path between two slashes.
SEGMENT = re.compile(r"[A-Za-z0-9._~-]+\Z")


class Found(NamedTuple):
    """The transport at a path."""

    name: str
    #: The name of a stream; "" for all other transports.
    rest: str


@cache
def paths() -> Mapping[str, str]:
    """Return the paths of the transports that are on, by name, below the prefix of the site.

    Values that the check E015 reports count as None.
    """
    chosen = app_settings.TRANSPORTS if isinstance(app_settings.TRANSPORTS, dict) else {}
    merged = DEFAULTS | {name: path for name, path in chosen.items() if name in DEFAULTS}
    found = {name: path for name, path in merged.items() if path is not None and _is_path(path)}
    if not any(name in found for name in EMULATED):
        found.pop("emulation", None)
    if STREAMS in found:
        found[STREAMS] = found[STREAMS].rstrip("/") + "/"
    return MappingProxyType(found)


@receiver(setting_changed)
def _forget_paths(*, setting: str, **kwargs: Any) -> None:
    if setting == "NOTIFICATIONS":
        paths.cache_clear()


def find(path: str, names: Container[str]) -> Found | None:
    """Return which transport a path belongs to; None if it is a path of the host.

    Args:
        path: below the prefix of the site, with the slash at its beginning.
        names: the transports to look for.
    """
    known = paths()
    for name, own in known.items():
        if path == own and name in names and name != STREAMS:
            return Found(name, "")
    tree = known.get(STREAMS)
    if tree is None or STREAMS not in names or not path.startswith(tree) or path == tree:
        return None
    return Found(STREAMS, path.removeprefix(tree))


def addresses_for_browsers() -> dict[str, str]:
    """Return the paths that the browser client needs, with the prefix of the site."""
    prefix = get_script_prefix().rstrip("/")
    known = paths()
    return {name: prefix + known[name] for name in (*BROWSER, "emulation") if name in known}


def problems_of(transports: dict[Any, Any], prefix: str) -> list[str]:
    """Say what is wrong with a value of ``TRANSPORTS``.

    Args:
        transports: the value.
        prefix: of the site, as in ``FORCE_SCRIPT_NAME``; "" for none.
    """
    problems = [
        problem
        for name, path in transports.items()
        if (problem := _problem_of_one(name, path, prefix))
    ]
    return problems or _problems_together()


def _problem_of_one(name: Any, path: Any, prefix: str) -> str:
    if name not in DEFAULTS:
        return f"there is no transport {name!r}; there are {', '.join(DEFAULTS)}"
    if path is None:
        return ""
    if not _is_path(path):
        return (
            f"{name!r} must be None, or a path such as '/live/{name}': a slash, and letters, "
            f"digits or -._~ between slashes; not {path!r}"
        )
    if prefix and f"{path}/".startswith(f"{prefix}/"):
        return f"{name!r} must not begin with the prefix of the site, {prefix!r}"
    return ""


def _is_path(path: Any) -> bool:
    if not isinstance(path, str) or not path.startswith("/"):
        return False
    # A slash at the end is part of the path.
    segments = path[1:].removesuffix("/").split("/")
    return all(SEGMENT.match(segment) and segment.strip(".") for segment in segments)


def _problems_together() -> list[str]:
    known = paths()
    problems = []
    names_by_path: dict[str, str] = {}
    for name, path in known.items():
        other = names_by_path.setdefault(path, name)
        if other != name:
            problems.append(f"{other!r} and {name!r} have the same path, {path!r}")
        elif name != STREAMS and path.startswith(known.get(STREAMS, "\0")):
            problems.append(f"{name!r} has a path below that of 'streams', {path!r}")
    without = [name for name in EMULATED if name in known and "emulation" not in known]
    if without:
        problems.append(f"{' and '.join(map(repr, without))} cannot work without 'emulation'")
    if not any(name in known for name in BROWSER):
        problems.append(f"one of {', '.join(BROWSER)} must be on for the pages of the site")
    return problems
