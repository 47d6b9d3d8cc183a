"""The user model. It has no migrations: ``migrate --run-syncdb`` creates its table."""

import os
import secrets
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


def new_key() -> str:
    """Return a difficult key: non-ASCII letters, spaces, and characters special in our names."""
    return f"Ключ: {secrets.token_hex(4)}/“ä”,%s_"


KEYS: dict[str, models.Field] = {
    "text": models.CharField(primary_key=True, max_length=150, default=new_key, editable=False),
    "uuid": models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False),
}


class Person(AbstractUser):
    id = KEYS[os.environ.get("USER_KEY", "text")]
