"""Script for the site's environment: fills the database, or publishes from a separate process."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402

from benchmarks.herd import now  # noqa: E402
from benchmarks.site import SENDERS  # noqa: E402
from notifications import broadcast, notify  # noqa: E402

User = get_user_model()

#: Threads that call ``notify()``, as many as a small web server has for requests.
THREADS = 4


def users(count: str) -> None:
    names = (f"user{number}" for number in range(int(count)))
    User.objects.bulk_create([User(username=name, password="!") for name in names], batch_size=1000)
    for number in range(SENDERS):
        User.objects.create_superuser(f"sender{number}", "", None)


def broadcasts(count: str) -> None:
    for number in range(int(count)):
        broadcast(f"Missed {number}", body="x" * 70)


def bulk() -> None:
    everybody = User.objects.all()
    began = time.perf_counter()
    ids = notify(everybody, "Your invoice is ready")
    print(len(ids), time.perf_counter() - began)


def steady(users: str, rate: str, seconds: str) -> None:
    """Call ``notify()`` at a steady rate, each time in a transaction of its own.

    The calls run in :data:`THREADS` threads, so that a slow one does not delay the others.
    """
    readers = list(User.objects.order_by("pk")[: int(users)])
    count = int(int(rate) * float(seconds))

    def send(number: int, due: float) -> None:
        notify(readers[number % len(readers)], "Your order has shipped", body=f"{due} {now()}")

    def connect() -> None:
        connection.ensure_connection()

    with ThreadPoolExecutor(THREADS, initializer=connect) as pool:
        list(pool.map(lambda number: notify(readers[number], "Warm", body="0 0"), range(THREADS)))
        began = now() + 0.5
        sending = []
        for number in range(count):
            due = began + number / int(rate)
            time.sleep(max(0.0, due - now()))
            sending.append(pool.submit(send, number, due))
        for future in sending:
            future.result()
    print(count / (now() - began))


match sys.argv[1:]:
    case ["users", count]:
        users(count)
    case ["broadcast", count]:
        broadcasts(count)
    case ["bulk"]:
        bulk()
    case ["steady", readers, rate, seconds]:
        steady(readers, rate, seconds)
