"""Namespaces: families of channels that a project declares beside the built-in streams.

>>> NOTIFICATIONS = {
...     "NAMESPACES": {
...         "chat": {"durable": True, "subscribe": "chat.rights.is_member"},
...         "typing": {"subscribe": "chat.rights.is_member", "publish": "subscribers"},
...     }
... }

A channel is named ``<namespace>:<rest>``, such as ``chat:7``. The namespace ``""`` has the channels
whose names have no colon, such as ``lobby``. Publications of a *durable* namespace are rows with
offsets, which clients recover. Those of an *ephemeral* one go through the channel layer only, and
are never stored.

Who may do something is one of these rights:

=====================  ========================================================================
``"nobody"``           no client; server code may
``"authenticated"``    every active user
``"subscribers"``      whoever is subscribed to the channel on the same connection
``"token"``            who has a subscription token for the channel (``subscribe`` only)
a dotted path          users for whom this function ``f(user, channel) -> bool`` returns true
=====================  ========================================================================
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .conf import app_settings, is_slug
from .texts import is_storable

NOBODY = "nobody"
AUTHENTICATED = "authenticated"
SUBSCRIBERS = "subscribers"
TOKEN = "token"  # noqa: S105 - the name of a right

#: Kinds of the built-in streams, and of the groups of server processes: no names of namespaces.
RESERVED = ("user", "broadcast", "staff", "group", "topic", "node")

#: The namespace of channels without a colon.
BARE = ""

#: Longest name of a channel, in characters.
MAX_CHANNEL = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """The options of one namespace. ``name`` is its key in ``NAMESPACES``; see :data:`BARE`."""

    name: str
    #: Whether its publications are stored, with offsets and recovery.
    durable: bool = False
    #: Who may subscribe to a channel.
    subscribe: str = AUTHENTICATED
    #: Which clients may publish into a channel.
    publish: str = NOBODY
    #: Which clients may see who is in a channel.
    presence: str = NOBODY
    #: Which clients may read the history of a channel, if it is durable.
    history: str = SUBSCRIBERS
    #: Whether those who may see presence are told who joins and leaves, if they ask for it.
    join_leave: bool = False
    #: Whether presence, joins, leaves and publications of clients tell the names of users, and not
    #: only their keys.
    show_names: bool = False
    #: Dotted path of a function ``f(data)`` that raises ``ValueError`` for data which must not be
    #: published; "" for any JSON.
    schema: str = ""

    @property
    def keeps_presence(self) -> bool:
        """Is it recorded who is in its channels?"""
        return self.join_leave or self.presence != NOBODY

    @property
    def tells_joins(self) -> bool:
        """Are joins and leaves announced? They are not where no client may see presence."""
        return self.join_leave and self.presence != NOBODY

    def check(self, data: Any) -> None:
        """Check data with the function of the host that :attr:`schema` names.

        Args:
            data: JSON of Python's types.

        Raises:
            ValueError: the data must not be published.
            Exception: whatever the function raises, or ``ImportError`` if there is none.
        """
        if self.schema:
            import_string(self.schema)(data)


OPTIONS = {field.name: field for field in fields(Namespace) if field.name != "name"}
RIGHTS = ("subscribe", "publish", "presence", "history")


class UnknownChannel(ValueError):
    """A name that belongs to no declared namespace."""


def namespace_of(channel: str) -> Namespace | None:
    """Return the namespace of a channel; None if its name belongs to none.

    Args:
        channel: the name of a channel, of any shape.
    """
    name, colon, rest = channel.partition(":")
    if not colon and name not in RESERVED:
        name, rest = BARE, channel
    elif name == BARE:
        return None
    if not rest or len(channel) > MAX_CHANNEL or not is_storable(rest):
        return None
    return _namespaces().get(name)


def all_namespaces() -> list[Namespace]:
    """Return the namespaces that are declared without problems."""
    return list(_namespaces().values())


def find_namespace(channel: str) -> Namespace:
    """Return the namespace of a channel.

    Raises:
        UnknownChannel: its name belongs to no declared namespace.
    """
    found = namespace_of(channel)
    if found is None:
        raise UnknownChannel(f"{channel!r} belongs to no namespace of NOTIFICATIONS['NAMESPACES']")
    return found


def functions_of_namespaces() -> list[tuple[str, str]]:
    """The functions of the host that namespaces refer to: pairs of a namespace and a path."""
    return [
        (name, path)
        for name, namespace in _namespaces().items()
        for path in (getattr(namespace, option) for option in (*RIGHTS, "schema"))
        if "." in path
    ]


def _namespaces() -> dict[str, Namespace]:
    global _declared
    if _declared is None:
        _declared = dict(_valid(app_settings.NAMESPACES))
    return _declared


_declared: dict[str, Namespace] | None = None


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    global _declared
    if setting == "NOTIFICATIONS":
        _declared = None


def _valid(raw: Any) -> list[tuple[str, Namespace]]:
    """The namespaces without problems; a system check reports the others."""
    if not isinstance(raw, dict):
        return []
    return [
        (name, Namespace(name=name, **options))
        for name, options in raw.items()
        if not problems_of(name, options)
    ]


def problems_of(name: Any, options: Any) -> list[str]:
    """What is wrong with the declaration of one namespace, for the system check."""
    if name != BARE and (not is_slug(name) or name in RESERVED):
        return [
            "its name must be '', or 1 to 100 letters, digits, '-', '_' or '.', "
            "and not a built-in one"
        ]
    if not isinstance(options, dict):
        return ["it must be a dict of options"]
    return [problem for key, value in options.items() if (problem := _problem(key, value))]


def _problem(key: Any, value: Any) -> str:
    if key not in OPTIONS:
        return f"there is no option {key!r}"
    default = OPTIONS[key].default
    assert default is not MISSING
    if not isinstance(value, type(default)):
        return f"{key!r} must be {'True or False' if isinstance(default, bool) else 'a text'}"
    if key == "schema" and value and "." not in value:
        return "'schema' must be a dotted path"
    if key not in RIGHTS or "." in value:
        return ""
    known = {NOBODY, AUTHENTICATED, SUBSCRIBERS}
    known = known - {SUBSCRIBERS} | {TOKEN} if key == "subscribe" else known
    return "" if value in known else f"{key!r} must be a dotted path or one of {sorted(known)}"
