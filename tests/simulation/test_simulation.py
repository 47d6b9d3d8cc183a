"""Runs of the simulation break no promise, and a seed replays its run exactly.

``make test`` injects a few hundred faults, ``make soak`` (SOAK=1) ten thousand.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Faults of a run: enough that they overlap, and few enough that a run stays short.
FAULTS = 25

SOAK = os.environ.get("SOAK") == "1"

#: ``make test`` always runs the same seeds.
SEED, RUNS = 1, 12

#: ``make soak`` injects ten thousand faults. Its first seed is random, and is printed.
SOAK_RUNS = 400


def simulate(
    *arguments: str, hash_seed: str = "1", is_shown: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m tests.simulation`` in a process of its own.

    Args:
        arguments: the command line arguments.
        hash_seed: the ``PYTHONHASHSEED`` of that process.
        is_shown: show its output as it is printed, instead of capturing it.
    """
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=not is_shown,
        text=True,
        check=False,
    )


def test_no_promise_is_broken() -> None:
    seed = int.from_bytes(os.urandom(3)) if SOAK else SEED
    runs = SOAK_RUNS if SOAK else RUNS
    print(f"seeds {seed} to {seed + runs - 1}", flush=True)  # noqa: T201 - to replay a failure
    arguments = "--seed", str(seed), "--runs", str(runs), "--faults", str(FAULTS)
    done = simulate(*arguments, is_shown=SOAK)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_a_seed_replays_its_run_exactly() -> None:
    runs = [
        simulate("--seed", "7", "--faults", "12", "--verbose", hash_seed=hash_seed)
        for hash_seed in ("1", "2")
    ]
    first, second = (re.sub(r"in \d+ s", "", run.stdout).splitlines() for run in runs)
    assert len(first) > 1000
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        assert one == other, f"line {number}"
    assert len(first) == len(second)


def test_different_seeds_give_different_runs() -> None:
    done = simulate("--seed", "1", "--runs", "2", "--faults", "3")
    digests = re.findall(r"digest (\w+)", done.stdout)
    assert len(set(digests)) == 2


def test_a_failure_says_how_to_replay_it() -> None:
    broken = "--break", "drop_equality", "--only", "restore"
    done = simulate("--seed", "4", "--runs", "20", "--faults", "2", *broken)
    assert done.returncode == 1
    (replay,) = re.findall(r"Replay: python -m tests.simulation (.*) --verbose", done.stdout)
    assert "restore: this state is restored" in done.stdout
    assert "The last events:" in done.stdout
    again = simulate(*replay.split())
    assert violations(again.stdout) == violations(done.stdout) != []


def violations(text: str) -> list[str]:
    return re.findall(r"^  (P\d: .*)$", text, re.MULTILINE)
