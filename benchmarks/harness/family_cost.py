"""What a process costs with all that it has started."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    """CPU seconds so far and bytes of memory (PSS) of one process with all that it has started."""

    cpu_s: float
    pss: int


def cost(process: psutil.Process, alone: bool = False) -> Cost:
    """The cost now; `alone`: without its children. What ends meanwhile counts nothing."""
    family = [process] if alone else [process, *process.children(recursive=True)]
    cpu_s, pss = 0.0, 0
    for member in family:
        try:
            times = member.cpu_times()
            # What has ended counts with its parent: a run is over before anybody looks.
            cpu_s += times.user + times.system
            if not alone:
                cpu_s += times.children_user + times.children_system
            memory = member.memory_full_info()
            # Only Linux knows the shared part.
            pss += getattr(memory, "pss", memory.uss)
        except psutil.NoSuchProcess:
            continue
    return Cost(cpu_s, pss)
