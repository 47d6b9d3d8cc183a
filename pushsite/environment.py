"""Read environment variables. The error for an invalid one names it."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network

from django.core.exceptions import ImproperlyConfigured


def flag(name: str, default: bool = False) -> bool:
    """Read a boolean environment variable.

    Raises:
        ImproperlyConfigured: the value is none of the accepted words.
    """
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def split(value: str) -> list[str]:
    """Split a comma-separated list. Empty items are dropped."""
    return [word.strip() for word in value.split(",") if word.strip()]


def number(name: str, kind: type[int] | type[float], default: float = 0) -> float:
    """Read a number from an environment variable.

    Raises:
        ImproperlyConfigured: the value is not such a number.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ImproperlyConfigured(f"{name} must be {wanted}, not {value!r}.") from None


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Read addresses and networks such as ``10.0.0.0/8`` from an environment variable.

    Raises:
        ImproperlyConfigured: an item is neither an address nor a network.
    """
    try:
        return [ip_network(word) for word in split(os.environ.get(name, ""))]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from None
