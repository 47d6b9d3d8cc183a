"""The connect command in a URL, for clients that cannot send it otherwise; and what logs hide."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable
from typing import Any
from urllib.parse import parse_qs, unquote

#: The parameter with the connect command or request.
CONNECT_PARAMETER = "cf_connect"

#: Parameters whose values are hidden. A key of the server API is no parameter here, but Centrifugo
#: takes one, so backends may send it.
HIDDEN = frozenset({CONNECT_PARAMETER, "api_key"})

#: Parameters of a query at most.
MAX_PARAMETERS = 20

#: A parameter of a URL. Its name has at most ten characters, each of which may be percent-encoded.
_PARAMETER = re.compile(r"[?&]([^=&\s\"']{1,30})=[^&\s\"']+")

#: The loggers of daphne and uvicorn for requests.
LOGGERS = ("django.channels.server", "daphne.server", "uvicorn.access", "uvicorn.error")


def connect_parameter(scope: Any) -> str:
    """Return the value of the parameter; "" if there is none.

    Raises:
        ValueError: there are too many parameters.
    """
    query = (scope.get("query_string") or b"").decode("latin-1")
    found = parse_qs(query, max_num_fields=MAX_PARAMETERS)
    value: str = found.get(CONNECT_PARAMETER, [""])[0]
    return value.strip()


class QueryHider:
    """ASGI middleware: the scope that the server keeps, and logs later, loses the values.

    The connect command may have a token.

    Args:
        application: gets a copy of the scope with the whole query.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        for name in LOGGERS:
            logger = logging.getLogger(name)
            if hide_in_record not in logger.filters:
                logger.addFilter(hide_in_record)

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        query = scope.get("query_string") or b""
        if query:
            hidden = hide("?" + query.decode("latin-1"))[1:].encode("latin-1")
            if hidden != query:
                scope, kept = {**scope}, scope
                kept["query_string"] = hidden
        # Not awaited here: thousands of sockets would keep a frame each of this method.
        answer: Awaitable[None] = self._application(scope, receive, send)
        return answer


def hide(text: str) -> str:
    """Replace the values of the parameters in a URL, or in a text with URLs."""
    return _PARAMETER.sub(_hidden, text)


def _hidden(parameter: re.Match[str]) -> str:
    is_hidden = unquote(parameter[1]).lower() in HIDDEN
    return f"{parameter[0][0]}{parameter[1]}=hidden" if is_hidden else parameter[0]


def hide_in_record(record: logging.LogRecord) -> bool:
    """A filter for loggers: servers such as daphne log the URL as they received it."""
    message = record.getMessage()
    hidden = hide(message)
    if hidden != message:
        record.msg, record.args = hidden, ()
    return True
