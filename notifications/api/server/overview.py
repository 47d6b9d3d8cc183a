"""``channels`` and ``info``: who is connected where, over all workers, from the database."""

from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase

from django.db.models import Count, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from ...conf import app_settings
from ...database.clock import read_clock
from ...handlers.connection import VERSION
from ...models import APIKey, Member, Subscription, Worker, database_alias
from ...protocol import codes
from ...protocol.codes import ClientError
from .requests import ChannelInfo, ChannelsRequest, ChannelsResult, InfoResult, NoArguments, Node

#: Channels and workers that are listed at most.
MAX_LISTED = 1000

#: Characters and stars of a pattern: what it takes to match it grows with their product.
MAX_PATTERN = 255
MAX_STARS = 8


def list_channels(key: APIKey, request: ChannelsRequest) -> ChannelsResult:
    """List the streams that connected users are subscribed to, then the channels with presence.

    At most ``MAX_LISTED`` are listed, each kind by name. Streams that a user has muted do not
    count, nor do channels out of the key's scope. A topic counts for every connected user who
    follows it.

    Raises:
        ClientError: the pattern is too long.
    """
    pattern = request.pattern or "*"
    if len(pattern) > MAX_PATTERN or pattern.count("*") > MAX_STARS:
        raise ClientError(codes.BAD_REQUEST, f"more than {MAX_STARS} stars, or too long")
    found: dict[str, ChannelInfo] = {}
    for name, clients in _channels():
        if fnmatchcase(name, pattern) and key.may_use(name):
            found[name] = ChannelInfo(clients)
        if len(found) == MAX_LISTED:
            break
    return ChannelsResult(found)


def describe_nodes(key: APIKey, request: NoArguments) -> InfoResult:
    """List the workers that have had a connection, at most ``MAX_LISTED``."""
    now = read_clock(database_alias())
    rows = Worker.objects.using(database_alias()).filter(seen_at__gte=_alive_since())
    counted = rows.annotate(
        clients=Count("connections"), users=Count("connections__user", distinct=True)
    )
    return InfoResult(
        [
            Node(
                uid=str(worker.pk),
                name=str(worker),
                version=VERSION,
                num_clients=worker.clients,
                num_users=worker.users,
                uptime=max(0, int((now - worker.started_at).total_seconds())),
            )
            for worker in counted.order_by("started_at", "pk")[:MAX_LISTED]
        ]
    )


def _channels() -> Iterator[tuple[str, int]]:
    """The names of streams and channels with their numbers of clients, each kind by name."""
    connections = "user__notification_connections"
    subscriptions = Subscription.objects.using(database_alias()).filter(
        muted=False, **{f"{connections}__worker__seen_at__gte": _alive_since()}
    )
    counted = subscriptions.values("stream__name").annotate(clients=Count(connections))
    ordered = counted.order_by("stream__name").values_list("stream__name", "clients")
    yield from ordered.iterator(chunk_size=2000)
    yield from count_in_channels().iterator(chunk_size=2000)


def count_in_channels() -> QuerySet[Member, tuple[str, int]]:
    """The names of channels with presence, in order, and how many clients each of them has."""
    members = Member.objects.using(database_alias()).filter(worker__seen_at__gte=_alive_since())
    counted = members.values("channel").annotate(clients=Count("pk")).order_by("channel")
    return counted.values_list("channel", "clients")


def _alive_since() -> Combinable:
    """Workers that have not refreshed their rows since then are dead."""
    return Now() - timedelta(seconds=app_settings.WORKER_TIMEOUT)
