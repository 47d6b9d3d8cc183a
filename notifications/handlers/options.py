"""What of the protocol's options this server does not have, and says so.

A client that asks for one of these gets 108 (not available), because with a success it would take
for granted what it does not get. All other fields that are not used here are left to the server
by the protocol: features that are negotiated (``delta``, most bits of ``flag``, ``dict``; the
reply says which are on), wishes that the reply answers with what is done (``positioned``,
``recoverable``), and what a server need not act on (``join_leave``, ``data``, ``headers``,
``profile``).

Source: ``client.proto`` of https://github.com/centrifugal/protocol.
"""

from ..protocol import codes, messages
from ..protocol.codes import ClientError

#: Fields by request; each has its default where a client does not use the option.
UNAVAILABLE: dict[type[messages.Request], tuple[str, ...]] = {
    # A token of its own, a filter by tags, and other kinds of subscriptions than to a stream.
    messages.SubscribeRequest: ("token", "tf", "type", "phase", "cursor", "limit", "asc"),
    # Into a map.
    messages.PublishRequest: ("type", "key", "removed"),
}

_DEFAULTS = {
    kind: {name: getattr(kind(), name) for name in names} for kind, names in UNAVAILABLE.items()
}


def refuse_unavailable(request: messages.Request) -> None:
    """Refuse a request that uses an option which is not there.

    Raises:
        ClientError: NOT_AVAILABLE, naming the field.
    """
    for name, default in _DEFAULTS.get(type(request), {}).items():
        if getattr(request, name) != default:
            raise ClientError(codes.NOT_AVAILABLE, name)
