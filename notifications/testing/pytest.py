"""Fixtures. In a ``conftest.py``: ``pytest_plugins = ["notifications.testing.pytest"]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from notifications import testing

if TYPE_CHECKING:
    from .captured import Captured


@pytest.fixture
def captured_notifications() -> Iterator[Captured]:
    """What the test sends; see :func:`notifications.testing.captured_notifications`."""
    with testing.captured_notifications() as captured:
        yield captured


@pytest.fixture
def published_notifications() -> Iterator[Captured]:
    """The same with ``publish=True``: inboxes and unread counts work without a commit, too."""
    with testing.captured_notifications(publish=True) as captured:
        yield captured
