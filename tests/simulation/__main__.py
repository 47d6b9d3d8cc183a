"""``python -m tests.simulation``: start :mod:`tests.simulation.run` with a fixed hash seed.

The iteration order of a set of strings depends on the hash seed, which Python otherwise chooses
at random for each process.
"""

import os
import sys

os.execve(
    sys.executable,
    [sys.executable, "-m", "tests.simulation.run", *sys.argv[1:]],
    {**os.environ, "PYTHONHASHSEED": "0"},
)
