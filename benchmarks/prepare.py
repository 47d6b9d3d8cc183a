"""Run inside the site's environment: fills its database, or publishes from a process of its own."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402

from notifications import broadcast, notify  # noqa: E402

User = get_user_model()


def users(count: str) -> None:
    names = (f"user{number}" for number in range(int(count)))
    User.objects.bulk_create([User(username=name, password="!") for name in names])
    User.objects.create_superuser("sender", "", None)


def broadcasts(count: str) -> None:
    for number in range(int(count)):
        broadcast(f"Missed {number}", body="x" * 70)


def bulk() -> None:
    everybody = User.objects.all()
    began = time.perf_counter()
    ids = notify(everybody, "Your invoice is ready")
    print(len(ids), time.perf_counter() - began)


{"users": users, "broadcast": broadcasts, "bulk": bulk}[sys.argv[1]](*sys.argv[2:])
