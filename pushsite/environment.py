"""Reads environment variables: what is wrong in one is a sentence that names it."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network

from django.core.exceptions import ImproperlyConfigured


def flag(name: str, default: bool = False) -> bool:
    """Read a yes/no environment variable."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def split(value: str) -> list[str]:
    """Take a list apart that is separated by commas."""
    return [word.strip() for word in value.split(",") if word.strip()]


def number(name: str, kind: type[int] | type[float], default: float = 0) -> float:
    """Read a number from an environment variable."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ImproperlyConfigured(f"{name} must be {wanted}, not {value!r}.") from None


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Read addresses and networks such as ``10.0.0.0/8`` from an environment variable."""
    try:
        return [ip_network(word) for word in split(os.environ.get(name, ""))]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from None
