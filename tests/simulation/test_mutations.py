"""The simulation finds deliberate bugs in production code."""

import re
from pathlib import Path

import pytest

from .test_simulation import simulate

TEXT = Path(__file__).with_name("mutations.py").read_text()

#: Number of seeds within which a mutation has to be found. Most are found with the first.
SEEDS = 40

#: Faults of a run: few, so that each run is short.
FAULTS = 5

NAMES = re.findall(r"^@mutation.*\ndef (\w+)", TEXT, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_code_that_breaks_a_promise_is_found(name: str) -> None:
    done = simulate("--break", name, "--faults", str(FAULTS), "--runs", str(SEEDS))
    assert done.returncode == 1, f"{name} is not found\n{done.stdout}{done.stderr}"
    assert "This is the expected promise." in done.stdout, done.stdout


def test_all_mutations_are_tried() -> None:
    assert len(NAMES) == TEXT.count("@mutation(") > 10
