"""The `data` of `connect` and `subscribe`, which is for the host's code and means nothing here."""

import msgspec

from ..protocol import codes
from ..protocol.codes import ClientError

#: Most bytes. They are kept for as long as a subscription lasts, or until receivers were called.
MAX_DATA = 1024


def check_data(data: msgspec.Raw) -> bytes:
    """Return the data as JSON; b"" for none.

    Raises:
        ClientError: there is too much of it.
    """
    if len(bytes(data)) > MAX_DATA:
        raise ClientError(codes.BAD_REQUEST, f"data: at most {MAX_DATA} bytes")
    return bytes(data)
