"""Announcements of this app, and the signals that publish.

Publish by signal, without importing the publishing code:

``push.send(sender, to=user, title="Shipped", url="/orders/7/")``
    The arguments of :func:`notifications.notify`; with ``to`` one of ``"everyone"``, ``"staff"``,
    ``"topic:<slug>"`` or a Django group, those of :func:`notifications.broadcast`.

``notify.send(actor, recipient=user, verb="liked", target=post)``
    The arguments of django-notifications, for sites that come from there:

    * ``recipient``: a user, a list or queryset of users, or a Django group.
    * ``verb``, ``target``, ``action_object``: the title says them in words, as there:
      “<actor> <verb> <action_object> on <target>”. ``data`` gets ``verb``, and the objects as
      ``{"type": "blog.post", "id": "7", "name": "…"}``; the link is the ``get_absolute_url()`` of
      the target, else of the action object, where there is one that a browser may follow.
    * ``description``: the text. ``level``: as in :func:`notifications.notify`.
    * ``timestamp``: when it happened, an aware datetime. It goes into ``data`` and changes
      nothing else, because a notification in the past could not be delivered in order.
    * ``public``: accepted and left out; a stream's audience is decided by its name.
    * other keyword arguments go into ``data``.

    The notification's ``actor`` is the sender if it is a user; the title names it anyway.

Errors of both reach whoever sends the signal, and nothing is written then.

Announced by the app (receivers get keyword arguments):

``published``      ``notification``: a :class:`~notifications.models.Notification` that has just
                   got its offset, after its transaction committed.
``delivered``      ``user_id``, ``stream``, ``offset``: the user has acknowledged up to there.
``read``           ``user_id``, ``ids``: notifications that the user has marked as read one by
                   one, after that committed. Marking all as read names none and sends nothing.
``connected``      ``user_id``, ``client``: a socket has been authenticated.
``disconnected``   ``user_id``, ``client``, ``code``: that socket is gone.

They are sent with ``send_robust``: a receiver that fails is logged and disturbs nobody. A worker
calls receivers in a thread of their own, where one that blocks delays only other receivers; if
10 000 announcements wait, more are dropped, logged once and counted. ``published`` and ``read`` of
a request or a script are sent in its own thread.
"""

from typing import TYPE_CHECKING, Any, Unpack

from django.dispatch import Signal

from .options import Options


class Push(Signal):
    """The type of :data:`push`, whose arguments are typed as :func:`notifications.notify`'s."""

    if TYPE_CHECKING:
        # Django types the arguments of any signal as ``Any``, so that a misspelled one goes unseen.

        def send(  # type: ignore[override]
            self, sender: Any, *, to: Any, title: str, **options: Unpack[Options]
        ) -> list[tuple[Any, Any]]: ...

        async def asend(  # type: ignore[override]
            self, sender: Any, *, to: Any, title: str, **options: Unpack[Options]
        ) -> list[tuple[Any, Any]]: ...


push = Push()
notify = Signal()

published = Signal()
delivered = Signal()
read = Signal()
connected = Signal()
disconnected = Signal()
