"""``python -m tests.simulation``: starts :mod:`tests.simulation.run` with a fixed hash seed.

The order of a set of texts depends on the hash seed, which Python draws anew for each process.
"""

import os
import sys

os.execve(
    sys.executable,
    [sys.executable, "-m", "tests.simulation.run", *sys.argv[1:]],
    {**os.environ, "PYTHONHASHSEED": "0"},
)
