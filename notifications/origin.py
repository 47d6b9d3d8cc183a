"""Decides which pages may open a socket, against cross-site hijacking (RFC 6455 section 10.2)."""

import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils.http import is_same_domain

from .conf import app_settings
from .logs import RateLimit, more_since_last, quoted

logger = logging.getLogger(__name__)

#: HTTP schemes by the schemes of requests and of websockets (RFC 6455 section 3).
SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}

#: Default ports by scheme.
PORTS = {"http": "80", "https": "443"}


class AllowedOriginValidator:
    """ASGI middleware that refuses handshakes for a foreign ``Host`` or from a foreign page.

    It applies the rules of Django's CSRF check: the host must be one of ``ALLOWED_HOSTS``, and the
    ``Origin`` must have the scheme, host and port of the request, or be one of
    ``CSRF_TRUSTED_ORIGINS`` or of the setting ``ALLOWED_ORIGINS``. ``USE_X_FORWARDED_HOST`` and
    ``SECURE_PROXY_SSL_HEADER`` apply here too. A request without ``Origin`` is allowed: browsers
    always send one, and native clients authenticate by token.
    """

    def __init__(self, application: Any) -> None:
        self.application = application
        self._refusals = Refusals(logger)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        reason = refusal(scope)
        if reason is None:
            await self.application(scope, receive, send)
            return
        self._refusals.log(reason)
        await refuse(scope, receive, send)


class Refusals:
    """Logs what is refused, one line a minute.

    Args:
        target: where the lines go.
        subject: what is refused, at the beginning of a line.
    """

    def __init__(self, target: logging.Logger, subject: str = "A websocket") -> None:
        self._logger = target
        self._subject = subject
        self._rate_limit = RateLimit()

    def log(self, reason: str) -> None:
        suppressed = self._rate_limit.suppressed(None)
        if suppressed is not None:
            more = f" ({more_since_last(suppressed)})" if suppressed else ""
            self._logger.warning("%s is refused: %s%s", self._subject, reason, more)


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that rejects every handshake with 403."""
    await receive()
    await send({"type": "websocket.close"})


class _Handshake(HttpRequest):
    """The part of a request that Django needs to determine its host and scheme."""

    def __init__(self, scope: Any) -> None:  # no super() call, as in Django's subclasses
        self._own_scheme = SCHEMES.get(scope.get("scheme") or "ws", "")
        server, port = scope.get("server") or ("unknown", 0)
        self.META = {"SERVER_NAME": server, "SERVER_PORT": str(port)}
        self.origins: list[str] = []
        secure = settings.SECURE_PROXY_SSL_HEADER
        variables = _variables(secure[0] if secure else "")
        for name, value in scope["headers"]:
            if name == b"origin":
                self.origins.append(value.decode("latin-1"))
            elif name in variables:
                known = self.META.get(variables[name], "")
                text = value.decode("latin-1")
                self.META[variables[name]] = f"{known},{text}" if known else text

    def _get_scheme(self) -> str:
        return self._own_scheme


class _Origin(NamedTuple):
    """The origin of a page (RFC 6454 section 4). A leading dot of the host covers subdomains."""

    scheme: str
    host: str
    port: str

    def covers(self, other: "_Origin") -> bool:
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        return bool(is_same_domain(other.host, self.host))


@lru_cache(maxsize=4)
def _variables(secure_header: str) -> dict[bytes, str]:
    """Map the headers that Django reads for host and scheme to their names in ``META``."""
    names = ["HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT"]
    if secure_header:
        names.append(secure_header)
    return {n.removeprefix("HTTP_").replace("_", "-").lower().encode(): n for n in names}


def refusal(scope: Any) -> str | None:
    """Return why this handshake or request is refused; None if it is allowed.

    See :class:`AllowedOriginValidator`.
    """
    handshake = _Handshake(scope)
    if not handshake.origins and "HTTP_HOST" not in handshake.META:
        return None  # no browser; only in tests can the host be missing
    try:
        host = handshake.get_host()
    except DisallowedHost:
        host = handshake._get_raw_host()  # type: ignore[attr-defined]
        return f"the host {quoted(host)} is not in ALLOWED_HOSTS"
    if not handshake.origins:
        return None
    if len(handshake.origins) > 1:
        return "it has more than one Origin header"
    origin = _read(handshake.origins[0])
    own = f"{'https' if handshake.is_secure() else 'http'}://{host}"
    if origin is None or not (origin == _read(own) or any(x.covers(origin) for x in _trusted())):
        return f"a page of {quoted(handshake.origins[0])} may not open one at {quoted(own)}"
    return None


def _trusted() -> Iterator[_Origin]:
    """Yield the trusted origins, wildcards as ``https://*.a.example`` or ``https://.a.example``."""
    for text in (*settings.CSRF_TRUSTED_ORIGINS, *app_settings.ALLOWED_ORIGINS):
        origin = _read(text.replace("://*.", "://.", 1))
        if origin is not None:
            yield origin


def _read(text: str) -> _Origin | None:
    """Parse ``scheme://host`` or ``scheme://host:port``; return None for anything else."""
    scheme, separator, rest = text.lower().partition("://")
    host, port = split_domain_port(rest)
    if not separator or not scheme or not host:
        return None
    return _Origin(scheme, host, port or PORTS.get(scheme, ""))
