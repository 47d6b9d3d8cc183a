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


@pytest.fixture(scope="module")
def outputs() -> dict[str, str]:
    """What the simulation prints of each mutation. Starting it takes as long as finding one."""
    done = simulate("--break", *NAMES, "--faults", str(FAULTS), "--runs", str(SEEDS))
    assert done.returncode == 1, done.stderr
    parts = re.split(r"^Broken: (\w+)$", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_code_that_breaks_a_promise_is_found(outputs: dict[str, str], name: str) -> None:
    assert "This is the expected promise." in outputs[name], outputs[name]


def test_all_mutations_are_tried() -> None:
    assert len(NAMES) == TEXT.count("@mutation(") > 10
