"""Faults of the network, the server processes and the channel layer."""

from __future__ import annotations

from random import Random

from .faults import fault, later
from .process import Process
from .world import World

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
    return "a client's network is gone, and neither end notices"


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

    later(world, chance.uniform(5, 15), heal)
    return f"some clients take {pace:.1f} s for each frame, while much is published"


@fault(2)
def slow_network(world: World, chance: Random) -> str:
    seconds = chance.uniform(2, 10)
    world.network.delay = chance.uniform(0.2, 1.0)
    world.database.trouble(seconds)
    later(world, seconds, world.network.heal)
    return f"up to {world.network.delay:.1f} s one way"


@fault(2)
def offline(world: World, chance: Random) -> str:
    seconds = chance.uniform(1, 20)
    some = [device for device in world.devices if chance.random() < 0.5]
    for device in some:
        device.go_offline(seconds)
    return f"{len(some)} devices are offline for {seconds:.1f} s"


@fault(2)
def new_browser(world: World, chance: Random) -> str:
    device = chance.choice(world.devices)
    device.forget()
    return f"{device} loses its state"


# Processes


def _kill(world: World, chance: Random, *, silently: bool) -> str:
    if not world.workers.running:
        return "there is no worker"
    worker = chance.choice(world.workers.running)
    world.workers.kill(worker, silently=silently)
    later(world, chance.uniform(0.1, 6), lambda: void(world.workers.start()))
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
    later(world, chance.uniform(3, 15), layer.heal)
    return f"loses {layer.loss}, doubles {layer.doubling}, takes up to {layer.delay} s"


@fault(2)
def layer_down(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.5, 20)
    world.layer.go_down()
    later(world, seconds, world.layer.heal)
    return f"the layer is down for {seconds:.1f} s"


@fault(2)
def layer_hangs(world: World, chance: Random) -> str:
    seconds = chance.uniform(0.5, 12)
    world.layer.is_hanging = True
    later(world, seconds, world.layer.heal)
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
    later(world, seconds, lambda: world.layer.cut_off.discard(worker.name))
    return f"{worker} does not reach the layer for {seconds:.1f} s"
