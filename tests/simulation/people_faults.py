"""Faults of callers, clients and clocks, and changes of rights."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .faults import fault, later
from .people import topic_rules
from .world import World

# Publishers


@fault(2)
def publisher_dies(world: World, chance: Random) -> str:
    for _ in range(chance.randint(1, 4)):
        world.publishers.die_after_commit()
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
        world.vandal.send_garbage()
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
    """Run a view that changes rights, and record the rights when it ends, even with an error."""
    world.people.ask(lambda _: world.rights_changed(), view, *args)


@fault(2)
def deactivate(world: World, chance: Random) -> str:
    user_id, seconds = _person(world, chance), chance.uniform(2, 30)
    _change(world, world.people.set_active, user_id, False)
    later(world, seconds, lambda: _change(world, world.people.set_active, user_id, True))
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
    if device.credentials is not None:
        _change(world, world.people.log_out, device.credentials.session)
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
        later(world, chance.uniform(1, 12), lambda name=name: device.return_to(name))  # type: ignore[misc]
    return f"{device} closes its topics for a while"


@fault(1)
def acknowledge(world: World, chance: Random) -> str:
    for device in world.devices:
        device.acknowledge()
    return "all devices acknowledge"
