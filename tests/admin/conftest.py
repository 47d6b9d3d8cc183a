"""Fixtures of the admin's tests."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

Staff = Callable[..., Client]


@pytest.fixture
def staff() -> Staff:
    """``staff("send_broadcast", …)`` logs in a staff user with exactly these permissions."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
        permissions = Permission.objects.filter(codename__in=codenames)
        assert permissions.count() == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        return client

    return log_in
