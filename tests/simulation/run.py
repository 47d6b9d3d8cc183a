"""Run simulations: ``python -m tests.simulation --seed N [--faults M]``.

The same arguments give the same run, event by event: the printed digest covers all events.
A broken promise is printed with its seed, its faults, the last events and the command that
replays it; ``--skip`` leaves single faults of a run out, to find those that matter.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from . import clock

_real_seconds = time.perf_counter

clock.install()
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.simulation.settings"
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

import django  # noqa: E402

django.setup()

from . import (  # noqa: E402
    database,
    database_faults,
    faults,
    mutations,
    network_faults,
    people_faults,
    workers,
)
from .world import World  # noqa: E402

#: The modules that register faults.
KINDS = (database_faults, network_faults, people_faults)

#: Mean virtual seconds between two actions of publishers.
PACE = 0.7

#: Virtual seconds after the faults within which every device has to have received everything.
SETTLE_TIMEOUT = 90.0

#: Virtual seconds within which a publication arrives after that, with and without the layer.
LATENCY, LATENCY_WITHOUT_LAYER = 2.0, 9.0


class Report(NamedTuple):
    seed: int
    faults: list[str]
    violations: list[str]
    events: list[str]
    digest: str


def simulate(seed: int, options: argparse.Namespace) -> Report:
    """Simulate one run.

    Args:
        seed: determines every random choice of the run.
        options: see :func:`_options`.
    """
    world = World(seed, is_verbose=options.verbose)
    world.ledger.ignored = set(options.ignore)
    injected: list[str] = []
    planned = [
        fault
        for fault in faults.plan(seed, options.faults, _kinds(options))
        if fault.number not in options.skip
    ]

    async def script() -> None:
        world.ends_at = world.loop.now + faults.QUIET + faults.SPACE * options.faults
        _inject(world, planned, injected)
        await _publish_under_faults(world)
        await _recover(world)
        await _check_latency(world)

    try:
        world.loop.run_until_complete(script())
    except Exception as error:  # report any error with its seed
        world.ledger.violate("simulation", repr(error))
    finally:
        world.end()
    return Report(seed, injected, world.ledger.violations, list(world.events), world.digest)


def simulate_in_child(seed: int, options: argparse.Namespace) -> Report:
    """Simulate one run in a process of its own, so that no state leaks into the next run."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def run() -> None:
        if options.broken:
            mutations.MUTATIONS[options.broken].apply()
        there.send(simulate(seed, options))

    process = context.Process(target=run)
    process.start()
    there.close()
    try:
        report: Report = here.recv()
    except EOFError:
        report = Report(seed, [], ["simulation: its process died"], [], "")
    process.join()
    return report


def _inject(world: World, planned: Sequence[faults.Fault], injected: list[str]) -> None:
    def inject(fault: faults.Fault) -> None:
        words = faults.FAULTS[fault.name](world, Random(fault.seed))
        injected.append(f"{fault}: {words}")
        world.trace("FAULT", fault, words)

    for fault in planned:
        world.network.later(fault.at, inject, fault)


async def _publish_under_faults(world: World) -> None:
    """Publish, and check the invariants that hold at any time."""
    chance = world.chance("pace")
    checked_at = 0.0
    while world.loop.now <= world.ends_at and not world.ledger.violations:
        await asyncio.sleep(chance.uniform(0, 2 * PACE))
        world.publishers.publish()
        world.invariants.check_memory()
        world.invariants.check_reported()
        if world.loop.now - checked_at > 5:
            checked_at = world.loop.now
            world.invariants.check_rolled_back()


async def _recover(world: World) -> None:
    """End all faults, and wait until every device has received everything."""
    world.heal()
    world.rights_changed()
    until = world.loop.now + SETTLE_TIMEOUT
    while not world.ledger.violations and not world.invariants.is_settled():
        await asyncio.sleep(1.0)
        world.invariants.check_reported()
        if world.loop.now > until:
            for promise, what in list(world.invariants.unsettled())[:10]:
                world.ledger.violate(promise, what)
    world.invariants.check_rolled_back()
    world.invariants.check_acknowledged()


async def _check_latency(world: World) -> None:
    """Check that new publications arrive within a bound, with or without the layer (P4)."""
    if world.ledger.violations:
        return
    await asyncio.sleep(12.0)
    is_up = world.chance("in the end").random() < 0.6
    if not is_up:
        world.layer.go_down()
        await asyncio.sleep(8.0)
    world.publishers.to_everybody()
    await asyncio.sleep(LATENCY if is_up else LATENCY_WITHOUT_LAYER)
    for promise, what in world.invariants.unsettled():
        if promise == "P1":
            world.ledger.violate("P4", f"{what}, with the layer {'up' if is_up else 'down'}")


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    workers.patch_singletons()
    database.prepare()
    workers.patch_threads()
    workers.let_few_be_direct()
    workers.number_objects()
    return max([_run(_with_bug(options, name)) for name in options.broken or [""]])


def _with_bug(options: argparse.Namespace, name: str) -> argparse.Namespace:
    """The options of the runs with this deliberate bug; "" means none."""
    seed = options.seed
    if seed is None:
        seed = mutations.MUTATIONS[name].seed if name else 1
    return argparse.Namespace(**{**vars(options), "broken": name, "seed": seed})


def _run(options: argparse.Namespace) -> int:
    """Simulate all seeds, with one deliberate bug at most, and return the exit code."""
    if options.broken:
        print(f"Broken: {options.broken}", flush=True)  # noqa: T201
    seeds = range(options.seed, options.seed + options.runs)
    started, total, broken = _real_seconds(), 0, 0
    for seed in seeds:
        report = simulate_in_child(seed, options)
        total += len(report.faults)
        print(f"seed {seed}: {len(report.faults)} faults, digest {report.digest}", flush=True)  # noqa: T201
        if report.violations:
            broken += 1
            _print(report, options)
            if not options.keep_going:
                break
    words = f"{broken} seeds break a promise" if broken else "no seed breaks a promise"
    print(f"{total} faults in {_real_seconds() - started:.0f} s, {words}.")  # noqa: T201
    return 1 if broken else 0


def _kinds(options: argparse.Namespace) -> list[str]:
    if options.only:
        return list(options.only)
    if options.broken:
        names = mutations.MUTATIONS[options.broken].faults
        return list(names)
    return [name for name in faults.FAULTS if name not in options.without]


def _print(report: Report, options: argparse.Namespace) -> None:
    lines = [
        f"A promise is broken with seed {report.seed}:",
        *(f"  {violation}" for violation in report.violations[:12]),
        "Faults:",
        *(f"  {fault}" for fault in report.faults),
        "The last events:",
        *(f"  {event}" for event in report.events),
        f"Replay: python -m tests.simulation {_arguments(report.seed, options)} --verbose",
    ]
    if options.broken:
        expected = mutations.MUTATIONS[options.broken].promises
        is_right = report.violations[0].startswith(expected)
        lines.append(f"This is {'' if is_right else 'not '}the expected promise.")
    print("\n".join(lines), flush=True)  # noqa: T201


def _arguments(seed: int, options: argparse.Namespace) -> str:
    words = ["--seed", str(seed), "--faults", str(options.faults)]
    for name in ("only", "without", "skip", "ignore"):
        if getattr(options, name):
            words += [f"--{name}", *map(str, getattr(options, name))]
    return " ".join(words + (["--break", options.broken] if options.broken else []))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="seed of the first run; 1, or that of the bug")
    parser.add_argument(
        "--runs", type=int, default=1, help="number of runs, with consecutive seeds"
    )
    parser.add_argument("--faults", type=int, default=15, help="number of faults in each run")
    parser.add_argument(
        "--skip", type=int, nargs="*", default=[], help="numbers of faults to leave out"
    )
    parser.add_argument("--only", nargs="*", default=[], help="kinds of faults to choose from")
    parser.add_argument("--without", nargs="*", default=[], help="kinds of faults to leave out")
    parser.add_argument("--keep-going", action="store_true", help="continue after a broken promise")
    parser.add_argument(
        "--ignore", nargs="*", default=[], help="promises whose violations are ignored"
    )
    parser.add_argument(
        "--break",
        dest="broken",
        nargs="+",
        default=[],
        choices=mutations.MUTATIONS,
        help="deliberate bugs to plant in the code, one after the other",
    )
    parser.add_argument("--verbose", action="store_true", help="print each event")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
