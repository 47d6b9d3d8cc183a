"""Login throttling: callables for django-axes that identify an attempt and answer a locked one.

Failures are counted in the database, which all processes share, by user name and address together.
By name alone, a stranger could lock out any user. By address alone, one user who mistypes a
password could lock out a whole office.
"""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

#: A site with IPv6 has a network of at least this size (RFC 6177), so counting single addresses
#: would not limit anybody.
IPV6_PREFIX = 64

#: How many characters of a user name the table of attempts can store.
MAX_NAME_LENGTH = 255


def client_address(request: HttpRequest) -> str | None:
    """Return the address that an attempt is counted for; for IPv6, the first of its network.

    It is taken from the proxy's headers if ``serve --forwarded-allow-ips`` trusts the proxy.

    Returns:
        None for a Unix socket, or if the peer's name is not an IP address.
    """
    try:
        address = ip_address(request.META.get("REMOTE_ADDR") or "")
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), IPV6_PREFIX), strict=False).network_address)


def user_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """Return the name that an attempt is counted for, cut to what the table can store."""
    name = (credentials or {}).get(get_user_model().USERNAME_FIELD)
    return str(name or "")[:MAX_NAME_LENGTH]


def too_many(request: HttpRequest, *details: Any) -> HttpResponse:
    """Answer a locked attempt with 429, whatever its password (RFC 6585 section 4)."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    minutes = -(-seconds // 60)
    page = render(request, "registration/too_many.html", {"minutes": minutes}, status=429)
    page["Retry-After"] = str(seconds)
    return page
