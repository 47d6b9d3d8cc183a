"""The signals of this app: those that publish, and those that it sends.

Signals that publish, without importing the publishing code:

``push.send(sender, to=user, title="Shipped", url="/orders/7/")``
    Takes the arguments of :func:`notifications.notify` or, if ``to`` is ``"everyone"``,
    ``"staff"``, ``"topic:<slug>"`` or a Django group, those of :func:`notifications.broadcast`.

``notify.send(actor, recipient=user, verb="liked", target=post)``
    Takes the arguments of django-notifications, for sites that migrate from it:

    * ``recipient``: a user, a list or queryset of users, or a Django group.
    * ``verb``, ``target``, ``action_object``: form the title, as in that package:
      “<actor> <verb> <action_object> on <target>” or “<actor> <verb> <target>”. ``data`` gets
      ``verb``, and the objects as ``{"type": "blog.post", "id": "7", "name": "…"}``. The link is
      the ``get_absolute_url()`` of the target, or else of the action object, if it is a valid link
      for browsers.
    * ``description``: the body. A sentence that is too long for a title precedes it in full.
      ``level``: as in :func:`notifications.notify`.
    * ``timestamp``: when it happened, an aware datetime. It is only stored in ``data``, because a
      notification in the past could not be delivered in order.
    * ``public``: accepted and ignored; the name of a stream decides who can read it.
    * other keyword arguments go into ``data``.

    The notification's ``actor`` is the sender if it is a user. Any other sender is in ``data``, as
    ``actor``; the title names it anyway.

Both raise their errors to the sender of the signal, and write nothing then.

Signals that the app sends (receivers get keyword arguments):

``published``: ``notification``
    A :class:`~notifications.models.Notification` has just got its offset, after its transaction
    committed.
``delivered``: ``user_id``, ``stream``, ``offset``
    The user has acknowledged up to this offset.
``read``: ``user_id``, ``ids``
    The user has marked these notifications as read one by one; sent after the commit. Marking all
    as read sends nothing.
``connected``: ``user_id``, ``client``, ``data``, ``headers``
    A connection has been authenticated. ``data`` is the JSON that the client has sent with
    ``connect`` (an SDK's option ``data``), in Python's types; None for none. ``headers`` is what it
    has sent as ``headers`` (an SDK's option of this name), because browsers cannot set headers of a
    websocket's request: texts by names in which case does not count. Anybody can send any value, so
    nothing here trusts them, and your code should not either.
``disconnected``: ``user_id``, ``client``, ``code``
    That connection has ended.

They are sent with ``send_robust``: an error of a receiver is logged and has no other effect. A
worker calls receivers in a thread of their own, where one that blocks delays only other receivers.
If 10 000 announcements wait, more are dropped, which is logged once and counted. In a request or a
script, ``published`` and ``read`` are sent in its own thread.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from django.dispatch import Signal

from .options import Audience, Level, LevelName, Options, Recipients, Text

if TYPE_CHECKING:
    from django.contrib.auth.models import Group

#: What the receivers of a signal have returned, each beside its receiver.
Responses: TypeAlias = list[tuple[Callable[..., Any], Any]]


class Push(Signal):
    """The type of :data:`push`, whose arguments are typed as :func:`notifications.notify`'s."""

    if TYPE_CHECKING:
        # Django types the arguments of any signal as ``Any``, so that a misspelled one goes unseen.

        def send(  # type: ignore[override]
            self,
            sender: object,
            *,
            to: Recipients | Audience,
            title: Text,
            **options: Unpack[Options],
        ) -> Responses: ...

        async def asend(  # type: ignore[override]
            self,
            sender: object,
            *,
            to: Recipients | Audience,
            title: Text,
            **options: Unpack[Options],
        ) -> Responses: ...

        def send_robust(  # type: ignore[override]
            self,
            sender: object,
            *,
            to: Recipients | Audience,
            title: Text,
            **options: Unpack[Options],
        ) -> Responses: ...

        async def asend_robust(  # type: ignore[override]
            self,
            sender: object,
            *,
            to: Recipients | Audience,
            title: Text,
            **options: Unpack[Options],
        ) -> Responses: ...


class Notify(Signal):
    """The type of :data:`notify`. Names that it does not know are data, so they are no error."""

    if TYPE_CHECKING:

        def send(  # type: ignore[override]
            self,
            sender: object,
            *,
            recipient: Recipients | Group,
            verb: Text,
            target: object = None,
            action_object: object = None,
            description: Text | None = None,
            level: LevelName | Level = "info",
            timestamp: datetime | None = None,
            public: bool = True,
            **data: Any,
        ) -> Responses: ...


push = Push()
notify = Notify()

published = Signal()
delivered = Signal()
read = Signal()
connected = Signal()
disconnected = Signal()
