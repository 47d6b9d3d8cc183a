"""Which role may do what with which stream (P6). The tables are the contract.

A cell is ``ok``, the code of the error reply, or ``-`` for a connection that is closed.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import Group, Permission

from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.publishing.notify import publish
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

# 102 unknown channel      103 permission denied      105 already subscribed (by the server)
# 108 not available        - closed with 3501: a command without a successful connect
#
# ``own`` is the caller's own stream, ``victim`` the stream of another user, ``group`` the group of
# ``member``, ``topic`` a topic that everybody may read, ``secret`` one that TOPIC_PERMISSION denies
# to all. A ``sender`` has the permissions send_private and send_broadcast and no others.
COMMANDS = """
stream     command         anonymous  other  member  sender  staff  superuser
own        subscribe       -          105    105     105     105    105
own        history         -          ok     ok      ok      ok     ok
own        publish         -          103    103     ok      103    ok
own        presence        -          108    108     108     108    108
own        presence_stats  -          108    108     108     108    108
victim     subscribe       -          103    103     103     103    103
victim     history         -          103    103     103     103    103
victim     publish         -          103    103     ok      103    ok
victim     presence        -          108    108     108     108    108
victim     presence_stats  -          108    108     108     108    108
broadcast  subscribe       -          105    105     105     105    105
broadcast  history         -          ok     ok      ok      ok     ok
broadcast  publish         -          103    103     ok      103    ok
broadcast  presence        -          108    108     108     108    108
broadcast  presence_stats  -          108    108     108     108    108
staff      subscribe       -          103    103     103     105    105
staff      history         -          103    103     103     ok     ok
staff      publish         -          103    103     ok      103    ok
staff      presence        -          108    108     108     108    108
staff      presence_stats  -          108    108     108     108    108
group      subscribe       -          103    105     103     103    103
group      history         -          103    ok      103     103    103
group      publish         -          103    103     ok      103    ok
group      presence        -          108    108     108     108    108
group      presence_stats  -          108    108     108     108    108
topic      history         -          103    103     103     103    103
topic      subscribe       -          ok     ok      ok      ok     ok
topic      publish         -          103    103     ok      103    ok
topic      presence        -          108    108     108     108    108
topic      presence_stats  -          108    108     108     108    108
secret     subscribe       -          103    103     103     103    103
secret     history         -          103    103     103     103    103
secret     publish         -          103    103     ok      103    ok
secret     presence        -          108    108     108     108    108
secret     presence_stats  -          108    108     108     108    108
nobody     subscribe       -          103    103     103     103    103
nobody     history         -          103    103     103     103    103
nobody     publish         -          103    103     102     103    102
nonsense   subscribe       -          102    102     102     102    102
nonsense   history         -          102    102     102     102    102
nonsense   publish         -          102    102     102     102    102
"""

# Whom a publication in a stream reaches while all are connected. Nobody follows ``secret``.
REACH = """
stream     anonymous  other  member  sender  staff  superuser  victim
victim     -          -      -       -       -      -          ok
broadcast  -          ok     ok      ok      ok     ok         ok
staff      -          -      -       -       ok     ok         -
group      -          -      ok      -       -      -          -
topic      -          ok     -       -       -      -          -
secret     -          -      -       -       -      -          -
"""

PEOPLE: dict[str, dict[str, bool]] = {
    "other": {},
    "member": {},
    "sender": {},
    "staff": {"is_staff": True},
    "superuser": {"is_staff": True, "is_superuser": True},
    "victim": {},
}


class Scene(NamedTuple):
    hub: Hub
    users: dict[str, Any]
    group: Group

    def channel(self, stream: str, role: str) -> str:
        """Return the channel of a stream in the tables."""
        own = self.users.get(role, self.users["victim"])
        names = {
            "own": f"user:{own.pk}",
            "victim": f"user:{self.users['victim'].pk}",
            "group": f"group:{self.group.pk}",
            "topic": "topic:open",
            "secret": "topic:secret",
            "nobody": "user:987654321",
            "nonsense": "nonsense:1",
        }
        return names.get(stream, stream)

    async def peer(self, role: str) -> Peer:
        return Peer() if role == "anonymous" else await Peer.of(self.users[role])


def rows(table: str) -> Iterator[dict[str, str]]:
    head, *lines = table.strip().splitlines()
    for line in lines:
        yield dict(zip(head.split(), line.split(), strict=True))


def roles(table: str) -> list[str]:
    return [name for name in table.split("\n")[1].split() if name not in {"stream", "command"}]


def not_secret(user: Any, slug: str) -> bool:
    return slug != "secret"


def make_people() -> tuple[dict[str, Any], Group]:
    users = {name: make_user(name, **flags) for name, flags in PEOPLE.items()}
    group = Group.objects.create(name="group")
    group.user_set.add(users["member"])
    permissions = Permission.objects.filter(codename__in=["send_private", "send_broadcast"])
    users["sender"].user_permissions.set(permissions)
    return users, group


@pytest.fixture
async def scene(settings: Any) -> AsyncIterator[Scene]:
    permission = "tests.security.test_matrix.not_secret"
    async with running_hub(settings, TOPIC_PERMISSION=permission) as hub:
        yield Scene(hub, *await in_database(make_people))


def request_of(command: str, channel: str) -> dict[str, Any]:
    more: dict[str, dict[str, Any]] = {
        "publish": {"data": {"title": "hello"}},
        "history": {"limit": 10},
    }
    return {command: {"channel": channel, **more.get(command, {})}}


async def outcome(peer: Peer, command: str, channel: str) -> str:
    """Send the command and return its outcome in the form of a cell."""
    command_id = peer.ask(**request_of(command, channel))
    await until(lambda: command_id in peer.replies or peer.closed is not None, "an answer")
    if command_id not in peer.replies:
        return "-" if peer.closed == 3501 else f"closed with {peer.closed}"
    reply = peer.replies[command_id]
    assert ("error" in reply) is (command not in reply)
    return str(reply["error"]["code"]) if "error" in reply else "ok"


@pytest.mark.parametrize("role", roles(COMMANDS))
async def test_each_role_may_do_exactly_what_the_table_says(scene: Scene, role: str) -> None:
    peer = await scene.peer(role)
    expected, got = {}, {}
    for row in rows(COMMANDS):
        if peer.is_gone:
            await peer.open()
            connected = await peer.try_connect()
            # An anonymous client gets 101, and can do nothing else.
            assert connected.get("error", {}).get("code") == (101 if role == "anonymous" else None)
        key = f"{row['stream']} {row['command']}"
        expected[key] = row[role]
        got[key] = await outcome(peer, row["command"], scene.channel(row["stream"], role))
    assert got == expected


async def test_a_publication_reaches_exactly_the_users_of_the_table(scene: Scene) -> None:
    peers = {role: await scene.peer(role) for role in roles(REACH)}
    for role, peer in peers.items():
        await peer.open()
        await peer.try_connect()
        assert (role == "anonymous") is (not peer.positions)
    await peers["other"].call(subscribe={"channel": "topic:open"})
    expected: dict[str, list[str]] = {role: [] for role in peers}
    for row in rows(REACH):
        await in_database(publish, scene.channel(row["stream"], "victim"), row["stream"])
        for role, titles in expected.items():
            if row[role] == "ok":
                titles.append(row["stream"])
    for role, peer in peers.items():
        await peer.wait_for(*expected[role])
    await scene.hub.position_check.run()
    await rest()
    assert {role: peer.titles for role, peer in peers.items()} == expected


async def test_the_tables_cover_every_stream_command_and_role() -> None:
    asked = {(row["stream"], row["command"]) for row in rows(COMMANDS)}
    streams = {stream for stream, _ in asked} - {"nobody", "nonsense"}
    commands = {"subscribe", "publish", "history", "presence", "presence_stats"}
    assert {(stream, command) for stream in streams for command in commands} <= asked
    assert set(roles(REACH)) == {*roles(COMMANDS), "victim"}
