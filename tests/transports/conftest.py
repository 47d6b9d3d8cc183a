"""Fixtures of the transports' tests."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub
from tests.peers import running_hub
from tests.rooms import make_user


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings) as running:
        yield running


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


@pytest.fixture
async def token(hub: Hub, user: Any) -> str:
    created: str = await in_database(make_token, user)
    return created
