"""Many recipients with a few notifications each.

Read by ``manage.py shell``, with the old packages.
"""

from django.contrib.auth.models import User

from notifications.models import Notification
from notifications.signals import notify

users = User.objects.bulk_create([User(username=f"user{n}") for n in range(150)])
users = User.objects.filter(username__startswith="user")
for verb in ("came", "saw", "won"):
    notify.send(users[0], recipient=users, verb=verb)

Notification.objects.filter(verb="came").update(unread=False)
