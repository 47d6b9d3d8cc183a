"""The addresses of the browser's modules, so that a page loads them at once.

A browser learns what a module imports when it has loaded it, so without a list it would fetch the
modules in rounds, one after another: https://html.spec.whatwg.org/#link-type-modulepreload
"""

from functools import lru_cache
from urllib.parse import urljoin

from django.apps import apps
from django.contrib.staticfiles.storage import staticfiles_storage
from django.templatetags.static import static

#: The module that the template tags load.
ENTRY = "notifications/index.js"

#: What it imports, directly or through others.
MODULES = (
    "actions",
    "audience",
    "backoff",
    "badge",
    "bell",
    "changes",
    "client",
    "connection",
    "debounced",
    "elements",
    "emitter",
    "emulation",
    "entry",
    "event_stream",
    "events",
    "format",
    "http_stream",
    "link",
    "list",
    "notifications",
    "opening",
    "page",
    "positions",
    "protocol",
    "recent",
    "relay",
    "requests",
    "streams",
    "subscriptions",
    "tab_socket",
    "tabs",
    "texts",
    "times",
    "title",
    "toasts",
    "topic_readers",
    "topics",
    "transport",
    "transports",
    "upgrade",
)

_IMPORT = 'import { Client } from "./client.js";'


def module_urls() -> tuple[str, ...]:
    """Return the URLs of ``MODULES``, as the browser finds them in the imports."""
    return _urls(static(ENTRY), _has_hashed_imports())


@lru_cache(maxsize=8)
def _urls(entry: str, has_hashed_imports: bool) -> tuple[str, ...]:
    if has_hashed_imports:
        return tuple(static(f"notifications/{name}.js") for name in MODULES)
    return tuple(urljoin(entry, f"{name}.js") for name in MODULES)


def _has_hashed_imports() -> bool:
    """Whether the storage replaces names in imports. Django's own does so only if it is told to."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return False
    rules = getattr(staticfiles_storage, "_patterns", {}).get("*.js", ())  # compiled by Django
    return any(rule[0].search(_IMPORT) for rule in rules)
