"""What is expected of a suite: ``<suite>.toml``, and how an outcome differs from it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


class Expectations(NamedTuple):
    """What ``<suite>.toml`` says.

    Args:
        version: the version of the SDK, or the commit of its repository.
        passed: how many tests pass.
        refused: by name of a test that does not pass, the reason.
        files: by pattern of a file of the suite that is not run, the reason.
    """

    version: str
    passed: int
    refused: Mapping[str, str]
    files: Mapping[str, str]

    def problems(self, outcomes: Mapping[str, bool]) -> list[str]:
        """Compare a run with what is expected.

        Args:
            outcomes: whether each test of the suite has passed.

        Returns:
            One sentence for each difference.
        """
        failed = {name for name, passed in outcomes.items() if not passed}
        passed = outcomes.keys() - failed
        return [
            *(f"{name} failed" for name in sorted(failed - self.refused.keys())),
            *(f"{name} passed, but is listed" for name in sorted(passed & self.refused.keys())),
            *(f"{name} did not run" for name in sorted(self.refused.keys() - outcomes.keys())),
            *(
                [f"{len(passed)} tests passed, and {self.passed} should"]
                if len(passed) != self.passed
                else []
            ),
        ]


def expectations(suite: str) -> Expectations:
    """Read what is expected of a suite: ``js``, ``go`` or ``python``."""
    written = tomllib.loads((HERE / f"{suite}.toml").read_text())
    groups = written["refused"]
    return Expectations(
        written["version"],
        written["passed"],
        {test: group["reason"] for group in groups for test in group.get("tests", [])},
        {file: group["reason"] for group in groups for file in group.get("files", [])},
    )
