"""Everything that goes wrong in a run: which faults there are, and the plan of one run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

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


def later(world: World, seconds: float, then: Callable[[], None]) -> None:
    """Go on with a fault, or end it; when the faults have to be over at the latest."""
    left = world.ends_at - world.loop.now
    world.network.later(min(seconds, left), then)
