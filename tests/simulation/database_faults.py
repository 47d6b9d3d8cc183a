"""Database faults, and histories that go back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .faults import fault, later
from .world import World


@fault(3)
def database_away(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.2, 8)
    names = ["", "", "web", *(worker.name for worker in world.workers.running)]
    name = chance.choice(names)
    world.database.away[name] = world.loop.now + seconds
    world.database.trouble(seconds)
    return f"the database is away from {name or 'everybody'} for {seconds:.1f} s"


@fault(2)
def database_locked(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.2, 6)
    world.database.locked_until = world.loop.now + seconds
    world.database.trouble(seconds)
    return f"all writing waits for {seconds:.1f} s"


@fault(2)
def database_breaks(world: World, chance: Random) -> str:
    """Connections break before, within and after transactions."""
    database, seconds = world.database, chance.uniform(1, 8)
    database.statement_loss = chance.choice([0.0, 0.05])
    database.commit_loss = chance.choice([0.0, 0.3])
    database.late_commit_loss = chance.choice([0.0, 0.3])
    database.trouble(seconds)

    def heal() -> None:
        database.statement_loss = database.commit_loss = database.late_commit_loss = 0.0

    later(world, seconds, heal)
    for _ in range(6):
        world.publishers.publish()
    return (
        f"statements {database.statement_loss}, commits {database.commit_loss} and "
        f"{database.late_commit_loss} fail for {seconds:.1f} s"
    )


@fault(2)
def slow_database(world: World, chance: Random) -> str:
    world.database.latency = chance.uniform(0.1, 0.8)
    seconds = chance.uniform(1, 6)
    world.database.trouble(seconds)

    def heal() -> None:
        world.database.latency = 0.004

    later(world, seconds, heal)
    return f"each piece of work takes up to {world.database.latency:.1f} s, for {seconds:.1f} s"


def _go_back(world: World, age: float, away: float, then: Callable[[], None]) -> None:
    """Lose the database in ``age`` seconds, and return to its present state.

    Args:
        age: seconds of writes that are lost.
        away: seconds for which the database is unreachable in between.
        then: called when the database is back.
    """
    snapshot = world.database.snapshot()

    def lose() -> None:
        # Entries that are about to be lost are acknowledged; the acknowledgements are written
        # when the database is back.
        for device in world.devices:
            device.acknowledge()
        world.database.away[""] = world.loop.now + away
        world.database.trouble(away)
        later(world, away, come_back)

    def come_back() -> None:
        world.go_back(snapshot)
        # Offsets are given a second time before any process notices.
        for _ in range(8):
            world.publishers.shared()
        then()

    later(world, age, lose)


@fault(2)
def failover(world: World, chance: Random) -> str:
    lag, away = chance.uniform(0.1, 3), chance.uniform(0.1, 4)
    _go_back(world, lag, away, lambda: None)
    return f"the database fails over to a replica that lags {lag:.1f} s"


@fault(2)
def restore(world: World, chance: Random) -> str:
    age, away, after = chance.uniform(3, 25), chance.uniform(1, 8), chance.uniform(0.1, 5)
    is_operator_told = chance.random() < 0.5

    def renew() -> None:
        if is_operator_told:
            world.operator.renew()

    _go_back(world, age, away, lambda: later(world, after, renew))
    told = "told" if is_operator_told else "not told"
    return f"this state is restored in {age:.1f} s; the operator is {told}"


@fault(2)
def held_row(world: World, chance: Random) -> str:
    """A new user connects while a long transaction that notifies the user is still open."""
    seconds = chance.uniform(2, 25)
    until = world.loop.now + seconds

    def created(user_id: int | None) -> None:
        if user_id is not None:
            world.database.held[f"user:{user_id}"] = until
            world.rights_changed()
            world.add_device(user_id)

    world.people.ask(created, world.people.create)
    return f"an open transaction locks the stream of a new user for {seconds:.1f} s"


@fault(2)
def held_user(world: World, chance: Random) -> str:
    """A transaction that deletes a user stays open, and locks the user's subscriptions."""
    user_id, seconds = chance.choice(world.people.ids), chance.uniform(2, 25)
    world.database.held_users[user_id] = world.loop.now + seconds
    return f"an open transaction locks the subscriptions of user {user_id} for {seconds:.1f} s"
