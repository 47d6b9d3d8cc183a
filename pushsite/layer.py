"""The channel layer that the environment names."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("redis", "rediss", "unix")
SENTINEL_PORT = 26379


def channel_layer(environment: Mapping[str, str]) -> dict[str, Any]:
    """Build the entry of ``CHANNEL_LAYERS``.

    ``REDIS_URL`` is one URL, or one for each shard, separated by commas. Their order decides which
    shard has which group, so it must be the same in all processes. Without ``REDIS_URL``, the
    in-memory layer is used.

    With ``REDIS_SENTINEL_MASTERS`` (a name, or one for each shard), the URLs are those of the
    sentinels. User, password and database of the first URL are those of the masters;
    ``REDIS_SENTINEL_PASSWORD`` is the password of the sentinels.

    Args:
        environment: the environment variables.

    Raises:
        ImproperlyConfigured: a variable is invalid. The message does not quote a URL, because it
            may contain a password.
    """
    urls = _split(environment.get("REDIS_URL", ""))
    masters = _split(environment.get("REDIS_SENTINEL_MASTERS", ""))
    if not urls and masters:
        raise ImproperlyConfigured(
            "REDIS_SENTINEL_MASTERS needs the addresses of the sentinels in REDIS_URL."
        )
    if not urls:
        # One channel receives every message of the process, and a full channel drops silently.
        return {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 10_000},
        }
    for url in urls:
        _validate_url(url)
    hosts = _sentinel_hosts(urls, masters, environment) if masters else list(urls)
    return {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": hosts},
    }


def _split(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _validate_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        found = parts.scheme in SCHEMES and bool(parts.hostname or parts.path)
        found = found and parts.port != 0
    except ValueError:
        found = False
    if not found:
        raise ImproperlyConfigured(
            "REDIS_URL must look like redis://:password@host:6379/0; several shards are separated "
            "by commas, and a comma in a password is written %2C."
        )


def _sentinel_hosts(
    urls: list[str], masters: list[str], environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    first = urlsplit(urls[0])
    if first.scheme != "redis":
        raise ImproperlyConfigured("Sentinels are reached by redis:// addresses only.")
    of_masters: dict[str, Any] = {"db": _database_number(first.path)}
    if first.username:
        of_masters["username"] = unquote(first.username)
    if first.password:
        of_masters["password"] = unquote(first.password)
    password = environment.get("REDIS_SENTINEL_PASSWORD", "")
    return [
        {
            "sentinels": [
                (parts.hostname, parts.port or SENTINEL_PORT) for parts in map(urlsplit, urls)
            ],
            "master_name": master,
            "sentinel_kwargs": {"password": password} if password else {},
            **of_masters,
        }
        for master in masters
    ]


def _database_number(path: str) -> int:
    word = path.strip("/") or "0"
    if not word.isdecimal():
        raise ImproperlyConfigured("The path of REDIS_URL must be the number of a database.")
    return int(word)
