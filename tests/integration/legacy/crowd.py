"""Recipients with a few notifications each: so many that an import of each alone takes seconds.

Read by ``manage.py shell``, with the old packages.
"""

from django.contrib.auth.models import User
from django.db import transaction

from notifications.models import Notification
from notifications.signals import notify

users = User.objects.bulk_create([User(username=f"user{n}") for n in range(1000)])
users = User.objects.filter(username__startswith="user")
with transaction.atomic():
    for verb in ("came", "saw", "won"):
        notify.send(users[0], recipient=users, verb=verb)

Notification.objects.filter(verb="came").update(unread=False)
