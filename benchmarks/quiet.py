"""Whether the machine was quiet during a run: what others used of it. Linux only (/proc)."""

import os
from dataclasses import dataclass
from pathlib import Path

#: Limits of a quiet run: the load average of one minute before it, per processor; and during it,
#: the CPU time that other processes used and that the hypervisor took, in % of all processors.
LOAD, OTHERS, STEAL = 0.25, 5.0, 2.0


@dataclass(frozen=True)
class Load:
    """What others used of the machine from the beginning to the end of a run."""

    #: Number of processors.
    processors: int
    #: Load average of the minute before the beginning.
    before: float
    #: CPU time of processes that are no part of the run, and time that the hypervisor gave to
    #: other machines (steal), in % of the time of all processors.
    others: float
    steal: float

    @property
    def disturbances(self) -> list[str]:
        """What was above its limit; empty if the run was quiet."""
        most = LOAD * self.processors
        found = []
        if self.before > most:
            found.append(f"the load average was {self.before:.2f} before it (limit {most:.2f})")
        if self.others > OTHERS:
            found.append(f"other processes used {self.others:.1f} % (limit {OTHERS:g} %)")
        if self.steal > STEAL:
            found.append(f"the hypervisor took {self.steal:.1f} % (limit {STEAL:g} %)")
        return found

    @property
    def is_quiet(self) -> bool:
        return not self.disturbances

    def __str__(self) -> str:
        return (
            f"load average {self.before:.2f} before, other processes {self.others:.1f} %, "
            f"steal {self.steal:.1f} % of {self.processors} processors"
        )


class Watch:
    """Observes the machine from its creation on."""

    def __init__(self) -> None:
        self._before = os.getloadavg()[0]
        self._detached = 0.0
        self._began = _times()
        self._own_began = self._own()

    def add_own(self, seconds: float) -> None:
        """Add CPU seconds of processes of the run that are no children of this one."""
        self._detached += seconds

    def judge(self) -> Load:
        """Return what others have used so far. Children that still run count as others."""
        processes, steal, total = (
            now - before for now, before in zip(_times(), self._began, strict=True)
        )
        processors = os.cpu_count() or 1
        others = processes - (self._own() - self._own_began)
        return Load(
            processors,
            self._before,
            max(0.0, others) / total * 100,
            steal / total * 100,
        )

    def _own(self) -> float:
        """Return the CPU seconds of this process and of its children that have ended."""
        used = os.times()
        return self._detached + used.user + used.system + used.children_user + used.children_system


def _times() -> tuple[float, float, float]:
    """Return seconds since the start of the machine: CPU of processes, steal, and all time.

    Interrupts count as neither: they are mostly the network traffic of the run itself. See
    proc_stat(5).
    """
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    seconds = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = seconds
    return user + nice + system, steal, sum(seconds)
