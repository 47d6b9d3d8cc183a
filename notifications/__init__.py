"""Live, durable notifications for Django.

>>> from notifications import notify, broadcast, publish
>>> notify(user, "Your order has shipped", url="/orders/7/")
>>> broadcast("Maintenance at 22:00", to="everyone")
>>> publish("chat:7", {"text": "hello"})

The functions are imported on first use (PEP 562), because models cannot be imported before
Django's app registry is ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .publishing.channels import apublish, publish
    from .publishing.notify import abroadcast, anotify, broadcast, notify
    from .streams.members import apresence, apresence_stats, presence, presence_stats
else:
    _MODULES = {
        ".publishing.channels": ("apublish", "publish"),
        ".publishing.notify": ("abroadcast", "anotify", "broadcast", "notify"),
        ".streams.members": ("apresence", "apresence_stats", "presence", "presence_stats"),
    }

    # Hidden from type checkers, for which a module with this function would have every name.

    def __getattr__(name: str) -> Any:
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(module, __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "abroadcast",
    "anotify",
    "apresence",
    "apresence_stats",
    "apublish",
    "broadcast",
    "notify",
    "presence",
    "presence_stats",
    "publish",
]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
