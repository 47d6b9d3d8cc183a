"""Checks of the settings of a production site, run by ``manage.py check --deploy``."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from ..conf import app_settings, layer_is_in_memory
from .databases import vendor

#: Hosts of origins whose pages are served from the visitor's own machine.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - nothing is bound to it


@register(Tags.security, deploy=True)
def check_workers(**kwargs: Any) -> list[CheckMessage]:
    """``W002`` and ``W003``: in-memory layer or SQLite, but not exactly one server process."""
    workers = app_settings.WORKERS
    if not isinstance(workers, int) and workers is not None:
        return []  # E003 reports it
    if workers == 1:
        return []
    site = (
        "The site may have several workers"
        if workers is None
        else f"The site has {workers} workers"
    )
    hint = "Set NOTIFICATIONS['WORKERS'] = 1 if there is only one server process; otherwise use {}."
    messages: list[CheckMessage] = []
    if layer_is_in_memory(app_settings.CHANNEL_LAYER):
        messages.append(
            Warning(
                f"{site}, which the in-memory channel layer does not connect: what one publishes, "
                "the others find only at their next position check.",
                hint=hint.format("channels_redis.pubsub.RedisPubSubChannelLayer"),
                id="notifications.W002",
            )
        )
    if vendor() == "sqlite":
        messages.append(
            Warning(
                f"{site}. With SQLite, only one can write at a time, and all must run on one host.",
                hint=hint.format("PostgreSQL"),
                id="notifications.W003",
            )
        )
    return messages


@register(Tags.security, deploy=True)
def check_secret(**kwargs: Any) -> list[CheckMessage]:
    """``W004`` and ``W005``: the key of connection tokens is missing, or is the ``SECRET_KEY``.

    ``W001`` reports a key that is too short.
    """
    secret = app_settings.TOKEN_SECRET
    if not secret:
        return [
            Warning(
                "NOTIFICATIONS['TOKEN_SECRET'] is missing: clients without a session cookie, such "
                "as phones, cannot connect.",
                hint="python -c 'import secrets; print(secrets.token_urlsafe(48))' makes one.",
                id="notifications.W004",
            )
        ]
    if secret == settings.SECRET_KEY:
        return [
            Warning(
                "NOTIFICATIONS['TOKEN_SECRET'] is the SECRET_KEY: anybody who can sign tokens can "
                "forge sessions, too.",
                hint="Use a key of its own.",
                id="notifications.W005",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_origins(**kwargs: Any) -> list[CheckMessage]:
    """``W006`` to ``W008``: origins whose pages may open a socket with the visitor's cookies."""
    origins = app_settings.ALLOWED_ORIGINS
    if not isinstance(origins, tuple) or not all(isinstance(origin, str) for origin in origins):
        return []  # E003 reports it
    messages = [message for origin in origins for message in _check_origin(origin)]
    if "*" in settings.ALLOWED_HOSTS:
        messages.append(
            Warning(
                "ALLOWED_HOSTS contains '*': the site answers to any host name, and accepts "
                "sockets from pages of that host.",
                hint="Name the hosts of this site.",
                id="notifications.W008",
            )
        )
    return messages


def _check_origin(origin: str) -> list[CheckMessage]:
    try:
        parts = urlsplit(origin)
        host, scheme = parts.hostname or "", parts.scheme
    except ValueError:
        host = scheme = ""
    if not scheme or (not host and "*" not in origin):
        return [
            Warning(
                f"NOTIFICATIONS['ALLOWED_ORIGINS']: {origin!r} matches no origin.",
                hint="Write the scheme, too, as in 'https://a.example'.",
                id="notifications.W007",
            )
        ]
    if scheme == "http" or "*" in origin or host in LOCAL_HOSTS or host.endswith(".localhost"):
        return [
            Warning(
                f"NOTIFICATIONS['ALLOWED_ORIGINS']: {origin!r} is for development only: its pages "
                "can be forged on the network, or served by the visitor's own machine.",
                hint="Allow only https origins, each by its full name.",
                id="notifications.W006",
            )
        ]
    return []
