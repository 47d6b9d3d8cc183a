"""Registry of the faults, and the plan that places them in one run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from .world import World

#: Virtual seconds between two faults on average, and at least before the first.
SPACE = 3.0
QUIET = 8.0

Inject = Callable[[World, Random], str]

FAULTS: dict[str, Inject] = {}

#: Relative frequency of each fault.
WEIGHTS: dict[str, int] = {}


class Fault(NamedTuple):
    """One fault of a plan. It has a seed of its own, so that skipping others does not change it."""

    number: int
    at: float
    name: str
    seed: int

    def __str__(self) -> str:
        return f"{self.number:3} at {self.at:7.2f} {self.name}"


def plan(seed: int, count: int, names: list[str]) -> list[Fault]:
    """Return ``count`` faults of the named kinds, in order of time."""
    chance = Random(f"{seed} plan")
    weights = [WEIGHTS[name] for name in names]
    moments = sorted(chance.uniform(QUIET, QUIET + SPACE * count) for _ in range(count))
    return [
        Fault(number, moment, chance.choices(names, weights)[0], chance.randrange(2**32))
        for number, moment in enumerate(moments)
    ]


def fault(weight: int) -> Callable[[Inject], Inject]:
    """Register a function that injects a fault and returns a short description of it."""

    def register(inject: Inject) -> Inject:
        name = inject.__name__
        FAULTS[name] = inject
        WEIGHTS[name] = weight
        return inject

    return register


def later(world: World, seconds: float, then: Callable[[], None]) -> None:
    """Call ``then`` in ``seconds``, or at the end of the faults if that is sooner."""
    left = world.ends_at - world.loop.now
    world.network.later(min(seconds, left), then)
