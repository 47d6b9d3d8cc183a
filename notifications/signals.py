"""Announcements of this app and the signals that publish. A leaf: imports nothing of the app.

Publish by signal, without importing the publishing code:

``push.send(sender, to=user, title="Shipped", url="/orders/7/")``
    The arguments of :func:`notifications.notify`; with ``to`` one of ``"everyone"``, ``"staff"``,
    ``"topic:<slug>"`` or a Django group, those of :func:`notifications.broadcast`.
``notify.send(actor, recipient=user, verb="liked", target=post)``
    The arguments of django-notifications, for sites that come from there.

Announced by the app (receivers get keyword arguments):

``published``      ``notification``: a :class:`~notifications.models.Notification` that has just
                   got its offset, after its transaction committed.
``delivered``      ``user_id``, ``stream``, ``offset``: the user has acknowledged up to there.
``read``           ``user_id``, ``ids``: notifications that the user marked as read.
``connected``      ``user_id``, ``client``: a socket has been authenticated.
``disconnected``   ``user_id``, ``client``, ``code``: that socket is gone.

``published``, ``delivered``, ``connected`` and ``disconnected`` are sent with ``send_robust``
from worker threads: a receiver that fails is logged and disturbs nobody.
"""

from django.dispatch import Signal

push = Signal()
notify = Signal()

published = Signal()
delivered = Signal()
read = Signal()
connected = Signal()
disconnected = Signal()
