"""The base of the forms of the admin and of the site."""

from typing import Any

import pytest

from notifications.admin import forms as admin
from notifications.models import Notification
from pushsite import forms as site

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("form", [admin.BroadcastForm, site.BroadcastForm])
@pytest.mark.parametrize(
    ("audience", "topic", "stream", "error"),
    [
        ("broadcast", "", "broadcast", None),
        ("staff", "not a slug", "staff", None),
        ("topic", "news.daily", "topic:news.daily", None),
        ("topic", "", None, "Which topic?"),
        ("topic", "a b", None, "Letters, digits, “-”, “_” and “.” only."),
    ],
)
def test_an_audience_means_the_same_in_every_form(
    form: Any, audience: str, topic: str, stream: str | None, error: str | None
) -> None:
    values = {"audience": audience, "topic": topic, "title": "Hello", "level": "info"}
    prefix = f"{form.prefix}-" if form.prefix else ""
    typed = {**values, "when": "now", "key": "0" * 32}
    filled = form({f"{prefix}{name}": value for name, value in typed.items()})
    if error is not None:
        assert filled.errors == {"topic": [error]}
        return
    assert filled.errors == {}
    assert filled.stream() == stream
    assert not Notification.objects.exists()
