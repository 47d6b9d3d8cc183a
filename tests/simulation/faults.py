"""Everything that goes wrong in a run: which faults there are, and the plan of one run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from .people import topic_rules
from .process import Process
from .world import World

#: Virtual seconds between two faults on average, and before the first.
SPACE = 3.0
QUIET = 8.0

Inject = Callable[[World, Random], str]

FAULTS: dict[str, Inject] = {}

#: How often a fault is chosen, beside the others.
WEIGHTS: dict[str, int] = {}


class Fault(NamedTuple):
    """One fault of a plan. Its own seed makes it the same one when others are left out."""

    number: int
    at: float
    name: str
    seed: int

    def __str__(self) -> str:
        return f"{self.number:3} at {self.at:7.2f} {self.name}"


def plan(seed: int, count: int, names: list[str]) -> list[Fault]:
    """So many faults of these kinds, in the order of their moments."""
    chance = Random(f"{seed} plan")
    weights = [WEIGHTS[name] for name in names]
    moments = sorted(chance.uniform(QUIET, QUIET + SPACE * count) for _ in range(count))
    return [
        Fault(number, moment, chance.choices(names, weights)[0], chance.randrange(2**32))
        for number, moment in enumerate(moments)
    ]


def fault(weight: int) -> Callable[[Inject], Inject]:
    """Register a fault; its function does it and says in a few words what exactly."""

    def register(inject: Inject) -> Inject:
        name = inject.__name__
        FAULTS[name] = inject
        WEIGHTS[name] = weight
        return inject

    return register


def _later(world: World, seconds: float, then: Callable[[], None]) -> None:
    """Go on with a fault, or end it; when the faults have to be over at the latest."""
    left = world.ends_at - world.loop.now
    world.network.later(min(seconds, left), then)


# The network


@fault(4)
def cut_socket(world: World, chance: Random) -> str:
    wires = list(world.network.wires)
    if wires:
        chance.choice(wires).cut()
    return "a socket breaks"


@fault(2)
def cut_all_sockets(world: World, chance: Random) -> str:
    for wire in list(world.network.wires):
        if chance.random() < 0.8:
            wire.cut()
    return "most sockets break at once"


@fault(2)
def vanish(world: World, chance: Random) -> str:
    wires = list(world.network.wires)
    if wires:
        chance.choice(wires).vanish()
    return "a client's network is gone, and nobody is told"


@fault(4)
def stall(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.5, 15)
    for wire in list(world.network.wires):
        if chance.random() < 0.4:
            wire.stall(world.loop.now + seconds)
    for _ in range(20):
        world.publishers.shared()
    return f"some clients read nothing for {seconds:.1f} s, while much is published"


@fault(2)
def trickle(world: World, chance: Random) -> str:
    pace = chance.uniform(0.2, 1.5)
    wires = [wire for wire in world.network.wires if chance.random() < 0.4]
    for wire in wires:
        wire.pace = pace
    for _ in range(20):
        world.publishers.shared()

    def heal() -> None:
        for wire in wires:
            wire.pace = 0.0

    _later(world, chance.uniform(5, 15), heal)
    return f"some clients take {pace:.1f} s for each frame, while much is published"


@fault(2)
def slow_network(world: World, chance: Random) -> str:
    seconds = chance.uniform(2, 10)
    world.network.delay = chance.uniform(0.2, 1.0)
    world.database.trouble(seconds)
    _later(world, seconds, world.network.heal)
    return f"up to {world.network.delay:.1f} s one way"


@fault(2)
def offline(world: World, chance: Random) -> str:
    seconds = chance.uniform(1, 20)
    some = [device for device in world.devices if chance.random() < 0.5]
    for device in some:
        device.rest(seconds)
    return f"{len(some)} devices are offline for {seconds:.1f} s"


@fault(2)
def new_browser(world: World, chance: Random) -> str:
    device = chance.choice(world.devices)
    device.forget()
    return f"{device} begins from nothing"


# Processes


def _kill(world: World, chance: Random, *, silently: bool) -> str:
    if not world.workers.running:
        return "there is no worker"
    worker = chance.choice(world.workers.running)
    world.workers.kill(worker, silently=silently)
    _later(world, chance.uniform(0.1, 6), lambda: void(world.workers.start()))
    return f"{worker} is killed"


@fault(3)
def kill_worker(world: World, chance: Random) -> str:
    return _kill(world, chance, silently=False)


@fault(1)
def lose_host(world: World, chance: Random) -> str:
    return _kill(world, chance, silently=True) + " with its host"


@fault(1)
def deploy(world: World, chance: Random) -> str:
    for worker in list(world.workers.running):
        world.workers.stop(worker)
        world.workers.start()
    return "all workers are replaced"


def void(value: object) -> None:
    return None


# The channel layer


@fault(3)
def lossy_layer(world: World, chance: Random) -> str:
    layer = world.layer
    layer.loss, layer.doubling = chance.choice([0.2, 0.6]), chance.choice([0.0, 0.5])
    layer.delay = chance.choice([0.01, 1.0, 4.0])
    _later(world, chance.uniform(3, 15), layer.heal)
    return f"loses {layer.loss}, doubles {layer.doubling}, takes up to {layer.delay} s"


@fault(2)
def layer_down(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.5, 20)
    world.layer.go_down()
    _later(world, seconds, world.layer.heal)
    return f"the layer is down for {seconds:.1f} s"


@fault(2)
def layer_hangs(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.5, 12)
    world.layer.is_hanging = True
    _later(world, seconds, world.layer.heal)
    return f"the layer hangs for {seconds:.1f} s"


@fault(2)
def layer_forgets(world: World, chance: Random) -> str:
    running: list[Process | None] = [None, *world.workers.running]
    process = chance.choice(running)
    world.layer.forget(process)
    return f"the layer forgets the groups of {process or 'everybody'}"


@fault(2)
def layer_partition(world: World, chance: Random) -> str:
    if not world.workers.running:
        return "there is no worker"
    worker, seconds = chance.choice(world.workers.running), chance.uniform(1, 15)
    world.layer.cut_off.add(worker.name)
    _later(world, seconds, lambda: world.layer.cut_off.discard(worker.name))
    return f"{worker} does not reach the layer for {seconds:.1f} s"


# The database


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

    _later(world, seconds, heal)
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

    _later(world, seconds, heal)
    return f"each piece of work takes up to {world.database.latency:.1f} s, for {seconds:.1f} s"


def _go_back(world: World, age: float, away: float, then: Callable[[], None]) -> None:
    """What is written from now on will be gone: the database is lost after ``age`` seconds."""
    snapshot = world.database.snapshot()

    def lose() -> None:
        # What will be gone is acknowledged, and that is written when the database is back.
        for device in world.devices:
            device.acknowledge()
        world.database.away[""] = world.loop.now + away
        world.database.trouble(away)
        _later(world, away, come_back)

    def come_back() -> None:
        world.go_back(snapshot)
        # Before anybody has noticed, offsets are given a second time.
        for _ in range(8):
            world.publishers.shared()
        then()

    _later(world, age, lose)


@fault(2)
def failover(world: World, chance: Random) -> str:
    lag, away = chance.uniform(0.1, 3), chance.uniform(0.1, 4)
    _go_back(world, lag, away, lambda: None)
    return f"the database fails over to a replica that lags {lag:.1f} s"


@fault(2)
def restore(world: World, chance: Random) -> str:
    age, away, after = chance.uniform(3, 25), chance.uniform(1, 8), chance.uniform(0.1, 5)
    is_told = chance.random() < 0.5

    def renew() -> None:
        if is_told:
            world.operator.renew()

    _go_back(world, age, away, lambda: _later(world, after, renew))
    return f"a backup of now is restored in {age:.1f} s, {'' if is_told else 'not '}told to us"


@fault(2)
def held_row(world: World, chance: Random) -> str:
    """A caller notifies somebody new in the middle of long work; and that one connects."""
    seconds = chance.uniform(2, 25)
    until = world.loop.now + seconds

    def created(user_id: int | None) -> None:
        if user_id is not None:
            world.database.held[f"user:{user_id}"] = until
            world.rights_changed()
            world.add_device(user_id)

    world.people.ask(created, world.people.create)
    return f"an open transaction locks the stream of a new user for {seconds:.1f} s"


# Publishers


@fault(2)
def publisher_dies(world: World, chance: Random) -> str:
    for _ in range(chance.randint(1, 4)):
        world.publishers.die()
    return "callers die between commit and sequencing"


@fault(1)
def caller_rolls_back(world: World, chance: Random) -> str:
    for _ in range(chance.randint(1, 4)):
        world.publishers.roll_back()
    return "callers roll back"


@fault(2)
def late_commit(world: World, chance: Random) -> str:
    for _ in range(chance.randint(1, 4)):
        world.publishers.commit_late()
    return "callers commit after others that began later"


@fault(2)
def garbage(world: World, chance: Random) -> str:
    for _ in range(chance.randint(2, 8)):
        world.vandal.strike()
    return "somebody sends garbage"


# Clocks


@fault(2)
def clock_jumps(world: World, chance: Random) -> str:
    processes = [world.web, world.job, *world.workers.running]
    process = chance.choice(processes)
    process.clock.offset += chance.choice([-3600.0, -30.0, -1.0, 1.0, 30.0, 3600.0])
    return f"the clock of {process} is {process.clock.offset:.0f} s ahead"


# Rights


def _person(world: World, chance: Random) -> int:
    return chance.choice(world.people.ids)


def _change(world: World, view: Callable[..., None], *args: object) -> None:
    """Let a view change rights, and note what holds when it is done, however it ended."""
    world.people.ask(lambda _: world.rights_changed(), view, *args)


@fault(2)
def deactivate(world: World, chance: Random) -> str:
    user_id, seconds = _person(world, chance), chance.uniform(2, 30)
    _change(world, world.people.set_active, user_id, False)
    _later(world, seconds, lambda: _change(world, world.people.set_active, user_id, True))
    return f"user {user_id} is inactive for {seconds:.1f} s"


@fault(3)
def change_group(world: World, chance: Random) -> str:
    user_id, group = _person(world, chance), chance.choice(world.people.groups)
    is_member = chance.random() < 0.5
    _change(world, world.people.set_member, user_id, group, is_member)
    return f"user {user_id} is {'in' if is_member else 'out of'} group {group}"


@fault(1)
def change_staff(world: World, chance: Random) -> str:
    user_id, is_staff = _person(world, chance), chance.random() < 0.5
    _change(world, world.people.set_staff, user_id, is_staff)
    return f"user {user_id} is {'' if is_staff else 'not '}staff"


@fault(2)
def log_out(world: World, chance: Random) -> str:
    device = chance.choice([device for device in world.devices if device.by_session])
    if device.shown is not None:
        _change(world, world.people.log_out, device.shown.session)
    return f"{device} is logged out"


@fault(1)
def change_password(world: World, chance: Random) -> str:
    user_id = _person(world, chance)
    _change(world, world.people.change_password, user_id)
    return f"user {user_id} has another password"


@fault(2)
def topic_permission(world: World, chance: Random) -> str:
    user_id = _person(world, chance)
    if chance.random() < 0.5:
        topic_rules.raising.add(user_id)
        what = f"TOPIC_PERMISSION raises for user {user_id}"
    else:
        topic_rules.denied.symmetric_difference_update({(user_id, "news")})
        what = f"TOPIC_PERMISSION of user {user_id} changes"
    world.rights_changed()
    _change(world, world.people.topic_changed, user_id)
    return what


@fault(2)
def close_topic(world: World, chance: Random) -> str:
    device = chance.choice(world.devices)
    for name in device.topics:
        device.unsubscribe(name)
        _later(world, chance.uniform(1, 12), lambda name=name: device.return_to(name))  # type: ignore[misc]
    return f"{device} closes its topics for a while"


@fault(1)
def acknowledge(world: World, chance: Random) -> str:
    for device in world.devices:
        device.acknowledge()
    return "all devices acknowledge"
