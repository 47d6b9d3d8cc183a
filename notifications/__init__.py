"""Live, durable notifications for Django.

>>> from notifications import notify, broadcast
>>> notify(user, "Your order has shipped", url="/orders/7/")
>>> broadcast("Maintenance at 22:00", to="everyone")

The functions are imported on first use (PEP 562), because models cannot be imported before
Django's app registry is ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .publishing.notify import abroadcast, anotify, broadcast, notify
    from .streams.members import apresence, apresence_stats, presence, presence_stats
else:
    _MODULES = {
        **dict.fromkeys(("abroadcast", "anotify", "broadcast", "notify"), ".publishing.notify"),
        **dict.fromkeys(
            ("apresence", "apresence_stats", "presence", "presence_stats"), ".streams.members"
        ),
    }

    # Hidden from type checkers, for which a module with this function would have every name.

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(_MODULES[name], __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "abroadcast",
    "anotify",
    "apresence",
    "apresence_stats",
    "broadcast",
    "notify",
    "presence",
    "presence_stats",
]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
