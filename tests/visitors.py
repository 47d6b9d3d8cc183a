"""Fixtures: people who use the pages without JavaScript, and their test clients."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

__all__ = ["browser", "reader", "sender", "writer"]


@pytest.fixture
def reader() -> User:
    return User.objects.create_user("reader", password="reader")


@pytest.fixture
def writer() -> User:
    user = User.objects.create_user("writer", password="writer", first_name="Grace")
    user.user_permissions.set(
        Permission.objects.filter(codename__in=("send_private", "send_broadcast"))
    )
    return user


@pytest.fixture
def browser(reader: User, client: Client) -> Client:
    client.force_login(reader)
    return client


@pytest.fixture
def sender(writer: User) -> Client:
    client = Client()
    client.force_login(writer)
    return client
