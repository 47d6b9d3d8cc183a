"""The brake on logins: what django-axes is told about a try, and its answer to one too many.

It counts failures by user name and address together, in the database, which all processes share.
By name alone, a stranger could lock anybody out; by address alone, one who mistypes would lock
out his whole office.
"""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

#: Somebody with IPv6 has this much of it (RFC 6177): single addresses would be no limit.
IPV6_PREFIX = 64

#: Characters of a name that the table of tries has room for.
LONGEST_NAME = 255


def client_address(request: HttpRequest) -> str | None:
    """The address that a try counts for, the first of its network with IPv6.

    It is the proxy's word where ``serve --forwarded-allow-ips`` believes it. None for a unix
    socket, and for what is no address.
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
    """The name that a try counts for; the login form takes longer ones than there is room for."""
    name = (credentials or {}).get(get_user_model().USERNAME_FIELD)
    return str(name or "")[:LONGEST_NAME]


def too_many(request: HttpRequest, *details: Any) -> HttpResponse:
    """Answer 429 to a try too many, whatever its password (RFC 6585 section 4)."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    minutes = -(-seconds // 60)
    page = render(request, "registration/too_many.html", {"minutes": minutes}, status=429)
    page["Retry-After"] = str(seconds)
    return page
