"""Fixtures of the transports' tests."""

from typing import Any

import pytest

from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub


@pytest.fixture
async def token(hub: Hub, user: Any) -> str:
    created: str = await in_database(make_token, user)
    return created
