"""The codes of errors, disconnects and unsubscribes, from :mod:`notifications.protocol.codes`."""

from notifications.protocol import codes
from notifications.protocol.codes import Disconnect, Error, Unsubscribe

from .rst import escape, table


def errors() -> list[Error]:
    return [value for value in vars(codes).values() if isinstance(value, Error)]


def disconnects() -> list[Disconnect]:
    return [value for value in vars(codes).values() if isinstance(value, Disconnect)]


def unsubscribes() -> list[Unsubscribe]:
    return [value for value in vars(codes).values() if isinstance(value, Unsubscribe)]


def write_errors() -> str:
    rows = [
        (str(error.code), escape(error.message), "yes" if error.temporary else "no")
        for error in errors()
    ]
    return table(("code", "message", "may be tried again"), rows)


def write_disconnects() -> str:
    rows = [
        (str(code), escape(reason) or "\\", "yes" if Disconnect(code, reason).reconnect else "no")
        for code, reason in disconnects()
    ]
    return table(("code", "reason", "the client comes back"), rows)


def write_unsubscribes() -> str:
    rows = [
        (str(why.code), escape(why.reason), "yes" if why.resubscribe else "no")
        for why in unsubscribes()
    ]
    return table(("code", "reason", "the client subscribes again"), rows)
