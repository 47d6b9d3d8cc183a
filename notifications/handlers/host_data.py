"""What clients send for the host's code, and what means nothing here.

That is the `data` of `connect` and `subscribe`, and the `headers` of `connect`: browsers cannot set
headers of a websocket's request, so SDKs send them in the command.
"""

from collections.abc import Mapping

import msgspec

from ..protocol import codes
from ..protocol.codes import ClientError

#: Most bytes of data, and of headers as JSON. They are kept for as long as the subscription or the
#: connection lasts.
MAX_DATA = 1024


def check_data(data: msgspec.Raw) -> bytes:
    """Return the data as JSON; b"" for none.

    Raises:
        ClientError: there is too much of it.
    """
    if len(bytes(data)) > MAX_DATA:
        raise ClientError(codes.BAD_REQUEST, f"data: at most {MAX_DATA} bytes")
    return bytes(data)


def check_headers(headers: Mapping[str, str]) -> bytes:
    """Return the headers as JSON; b"" for none.

    Raises:
        ClientError: there are too many of them.
    """
    encoded = msgspec.json.encode(headers) if headers else b""
    if len(encoded) > MAX_DATA:
        raise ClientError(codes.BAD_REQUEST, f"headers: at most {MAX_DATA} bytes")
    return encoded
