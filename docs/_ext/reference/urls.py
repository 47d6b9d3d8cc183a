"""The URLs of the app: names, paths, methods and what their views say."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.test import RequestFactory
from django.urls import URLPattern

from notifications.urls import app_name, urlpatterns

from .rst import code, table


def write() -> str:
    rows = [
        (
            code(f"{app_name}:{pattern.name}"),
            code(f"notifications/{pattern.pattern}"),
            ", ".join(_methods(pattern)),
            _about(pattern),
        )
        for pattern in urlpatterns
    ]
    return table(("name", "path", "methods", "what it does"), rows)


def _methods(pattern: URLPattern) -> list[str]:
    """Ask the view itself, as a client would."""
    request: Any = RequestFactory().options("/")
    request.user = SimpleNamespace(is_authenticated=True)
    allowed = pattern.callback(request)["Allow"].split(", ")
    return [method for method in allowed if method not in ("HEAD", "OPTIONS")]


def _about(pattern: URLPattern) -> str:
    """What the view says of itself, or else what its module says."""
    view: Any = getattr(pattern.callback, "view_class", pattern.callback)
    about = view.__doc__ or import_module(view.__module__).__doc__ or ""
    return " ".join(about.strip().split("\n\n")[0].split())
