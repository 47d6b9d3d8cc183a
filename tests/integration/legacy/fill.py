"""Notifications in every state, as a site on django-notifications writes them.

Read by ``manage.py shell``, with the old packages.
"""

from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import Group, User
from shop.models import Order
from swapper import load_model

from notifications.signals import notify

Notification = load_model("notifications", "Notification")

BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return BEGINNING + timedelta(days=day)


ada = User.objects.create_user("ada", password="ada")
bob = User.objects.create_user("bob", password="bob")
idle = User.objects.create_user("idle", password="idle")
gone = User.objects.create_user("gone")
group = Group.objects.create(name="Friends")
group.user_set.add(ada, bob)
order = Order.objects.create(name="order 7")
lost = Order.objects.create(name="a lost order")

notify.send(bob, recipient=ada, verb="commented on", target=order, timestamp=at(1))
notify.send(bob, recipient=ada, verb="added", action_object=order, target=group, timestamp=at(3))
# Written later, happened earlier; both at the same moment.
notify.send(order, recipient=ada, verb="was shipped", level="success", timestamp=at(2))
notify.send(order, recipient=ada, verb="was packed", description="With care.", timestamp=at(2))
notify.send(gone, recipient=ada, verb="bought", action_object=lost, timestamp=at(4))
notify.send(bob, recipient=ada, verb="wrote", target=order, colour="red", size=3, timestamp=at(5))
notify.send(bob, recipient=ada, verb="said " + "x" * 240, description="Why?", timestamp=at(6))
notify.send(bob, recipient=ada, verb="whispered", public=False, timestamp=at(7))
notify.send(bob, recipient=ada, verb="regretted", timestamp=at(8))
notify.send(bob, recipient=group, verb="greeted everybody", timestamp=at(9))

rows = Notification.objects.filter(recipient=ada)
for verb in ("commented on", "was packed", "whispered"):
    rows.get(verb=verb).mark_as_read()
rows.filter(verb="regretted").update(deleted=True)
rows.filter(verb="whispered").update(emailed=True)
rows.filter(verb="bought").update(level="loud")
lost.delete()
# As a foreign key to an object does not know that it is gone.
User.objects.filter(pk=gone.pk).delete()
