"""Helpers for the tests of a host project. The app itself never imports this package.

>>> from notifications.testing import captured_notifications
>>> with captured_notifications() as sent:
...     ship(order)
>>> sent.assert_notified(order.user, title="Your order has shipped")

:class:`NotificationsMixin` has the same as methods of a test case, and
:mod:`notifications.testing.pytest` has it as fixtures. :class:`NotificationSocket` is a client of
the websocket.

The names are imported on first use (PEP 562), because pytest loads plugins before Django's app
registry is ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .captured import Captured, captured_notifications
    from .cases import NotificationsMixin
    from .sockets import NotificationSocket, Received, Refused
else:
    _MODULES = {
        "Captured": "captured",
        "NotificationSocket": "sockets",
        "NotificationsMixin": "cases",
        "Received": "sockets",
        "Refused": "sockets",
        "captured_notifications": "captured",
    }

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(f".{_MODULES[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Captured",
    "NotificationSocket",
    "NotificationsMixin",
    "Received",
    "Refused",
    "captured_notifications",
]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
