"""Who is in a channel, over all workers: clients and users, as the table of members has them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from asgiref.sync import sync_to_async
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from ..conf import app_settings
from ..models import Member, database_alias
from ..namespaces import BARE, Namespace, all_namespaces, find_namespace, namespace_of
from ..protocol.messages import ClientInfo
from .encoding import describe_user
from .recovery import ReplyBudget

#: Clients in one answer at most.
PAGE_SIZE = 1000

#: Bytes of a client in an answer, besides its info: its id twice, names of fields, punctuation.
CLIENT_COST = 150

#: Clients of a dead worker whose leaves are told, at most.
MAX_LEAVES = 1000


class Counts(NamedTuple):
    clients: int
    users: int


def presence(channel: str) -> dict[str, dict[str, Any]]:
    """List the clients in a channel of a namespace that keeps presence.

    The clients of a killed worker are listed for up to ``WORKER_TIMEOUT`` more. Otherwise the list
    is at most ``FLUSH_INTERVAL`` behind.

    Args:
        channel: name of the channel, such as ``"chat:7"``.

    Returns:
        By client id, the ``user`` (primary key as text) and ``client``; with ``show_names`` also
        ``conn_info`` with the ``id`` and ``name`` of the user; and ``chan_info``, if the client's
        subscription token has one. At most 1000 clients, and fewer if they take more than 256 KB;
        see :func:`presence_stats`.

    Raises:
        ValueError: the channel belongs to no namespace, or to one without presence.
    """
    found = list_clients(_namespace(channel), channel)
    return {
        client: msgspec.json.decode(msgspec.json.encode(info)) for client, info in found.items()
    }


def presence_stats(channel: str) -> dict[str, int]:
    """Count the clients and users in a channel of a namespace that keeps presence.

    Args:
        channel: name of the channel, such as ``"chat:7"``.

    Returns:
        ``num_clients`` and ``num_users``, without a limit. See :func:`presence` for their age.

    Raises:
        ValueError: the channel belongs to no namespace, or to one without presence.
    """
    _namespace(channel)
    clients, users = count_clients(channel)
    return {"num_clients": clients, "num_users": users}


async def apresence(channel: str) -> dict[str, dict[str, Any]]:
    """:func:`presence` for asynchronous code; the same argument, result and errors."""
    return await sync_to_async(presence)(channel)


async def apresence_stats(channel: str) -> dict[str, int]:
    """:func:`presence_stats` for asynchronous code; the same argument, result and errors."""
    return await sync_to_async(presence_stats)(channel)


def list_clients(namespace: Namespace, channel: str) -> dict[str, ClientInfo]:
    """Return clients in a channel by client id, as many as fit into a reply.

    Args:
        namespace: the namespace of the channel.
        channel: name of the channel.
    """
    rows = _in(channel).order_by("user")
    if namespace.show_names:
        rows = rows.select_related("user")
    infos = [_info_of(namespace, row) for row in rows[:PAGE_SIZE]]
    sizes = (len(msgspec.json.encode(info)) + CLIENT_COST for info in infos)
    return {info.client: info for info in infos[: ReplyBudget().take(sizes)]}


def count_clients(channel: str) -> Counts:
    """Count the clients and users in a channel."""
    found = _in(channel).aggregate(clients=Count("pk"), users=Count("user", distinct=True))
    return Counts(found["clients"], found["users"])


def describe_client(
    namespace: Namespace, user: Any, client: str, chan_info: bytes | str = b""
) -> ClientInfo:
    """Describe a client to others in a channel, with no more than the namespace tells.

    Args:
        namespace: the namespace of the channel.
        user: the user of the client.
        client: id of the client.
        chan_info: JSON of the client's subscription token; empty for none.
    """
    info = ClientInfo(str(user.pk), client)
    if chan_info:
        info.chan_info = msgspec.Raw(chan_info)
    add_name(namespace, info, user)
    return info


def add_name(namespace: Namespace, info: ClientInfo, user: Any) -> None:
    """Add the name of a client's user to its description, if the namespace tells names."""
    if namespace.show_names:
        info.conn_info = msgspec.Raw(msgspec.json.encode(describe_user(user)))


def members_to_announce(worker_id: Any) -> list[tuple[str, ClientInfo]]:
    """Return channel and client of a worker's members, where leaves are told; a limited number."""
    announced = Q()
    for namespace in all_namespaces():
        if namespace.tells_joins:
            announced |= _is_in(namespace)
    if not announced:
        return []
    rows = _rows().filter(announced, worker=worker_id).select_related("user")
    return list(_described(rows.order_by("pk")[:MAX_LEAVES]))


def _is_in(namespace: Namespace) -> Q:
    if namespace.name == BARE:
        return ~Q(channel__contains=":")
    return Q(channel__startswith=f"{namespace.name}:")


def _described(rows: Iterable[Member]) -> Iterable[tuple[str, ClientInfo]]:
    for row in rows:
        namespace = namespace_of(row.channel)
        if namespace is not None:
            yield row.channel, _info_of(namespace, row)


def _info_of(namespace: Namespace, row: Member) -> ClientInfo:
    if namespace.show_names:
        return describe_client(namespace, row.user, str(row.client), row.info)
    info = ClientInfo(str(row.user_id), str(row.client))
    if row.info:
        info.chan_info = msgspec.Raw(row.info)
    return info


def _in(channel: str) -> QuerySet[Member]:
    """The members of a channel whose workers are alive."""
    seen = Now() - timedelta(seconds=app_settings.WORKER_TIMEOUT)
    return _rows().filter(channel=channel, worker__seen_at__gte=seen)


def _rows() -> QuerySet[Member]:
    return Member.objects.using(database_alias())


def _namespace(channel: str) -> Namespace:
    namespace = find_namespace(channel)
    if not namespace.keeps_presence:
        raise ValueError(f"the namespace {namespace.name!r} keeps no presence")
    return namespace
