"""Options of the protocol that this server does not have and refuses.

A client that uses one of them gets 108 (not available): after a success it would rely on something
that does not happen. The other fields that this server does not use may be ignored by any server:
negotiated features (``delta``, most bits of ``flag``, ``dict``), whose use the reply reports;
requests that the reply answers with the actual value (``positioned``, ``recoverable``); and fields
on which a server need not act (``name``, ``profile``). docs/protocol.md lists all.

Source: ``client.proto`` of https://github.com/centrifugal/protocol.
"""

from ..protocol import codes, commands
from ..protocol.codes import ClientError

#: Fields by request. A field with its default value means that the option is not used.
UNAVAILABLE: dict[type[commands.Request], tuple[str, ...]] = {
    # Filters by tags, and subscriptions to anything but a stream.
    commands.SubscribeRequest: ("token", "tf", "type", "phase", "cursor", "limit", "asc"),
    # Publications into a map.
    commands.PublishRequest: ("type", "key", "removed"),
    # Refreshing a subscription to a map.
    commands.SubRefreshRequest: ("type", "track", "untrack"),
}

#: What is available in channels of namespaces all the same.
ONLY_IN_NAMESPACES: dict[type[commands.Request], str] = {commands.SubscribeRequest: "token"}

_DEFAULTS = {
    kind: {name: getattr(kind(), name) for name in names} for kind, names in UNAVAILABLE.items()
}


def refuse_unavailable(request: commands.Request, *, is_in_namespace: bool) -> None:
    """Refuse a request that uses an option which this server does not have.

    Raises:
        ClientError: NOT_AVAILABLE, with the name of the field.
    """
    for name, default in _DEFAULTS.get(type(request), {}).items():
        if is_in_namespace and ONLY_IN_NAMESPACES.get(type(request)) == name:
            continue
        if getattr(request, name) != default:
            raise ClientError(codes.NOT_AVAILABLE, name)
