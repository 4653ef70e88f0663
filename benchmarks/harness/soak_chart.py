"""The chart of a soak: memory by process over time, with the faults marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness.slopes import Sample
from benchmarks.harness.soak_faults import FEED, KILLS, Fault

_COLOURS = {"feed": "#9aa4b2", "kill": "#d1242f", "database": "#8250df"}


def draw(path: Path, memory: Mapping[str, Sequence[Sample]], faults: Sequence[Fault], began: float) -> None:
    """Write it as PNG or SVG, as the path ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.6), layout="constrained", dpi=80)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for name, samples in sorted(memory.items(), key=lambda item: -max(s.figure for s in item[1])):
        minutes = [(sample.at - began) / 60 for sample in samples]
        axes.plot(minutes, [sample.figure for sample in samples], linewidth=1.1, label=name)
    seen: set[str] = set()
    for fault in faults:
        kind = "feed" if fault.name in FEED else "kill" if fault.name in KILLS else "database"
        label = None if kind in seen else f"fault: {kind}"
        seen.add(kind)
        start, end = (fault.began - began) / 60, (fault.recovered - began) / 60
        axes.axvspan(start, max(end, start + 0.05), color=_COLOURS[kind], alpha=0.3, lw=0, label=label)
    axes.set(xlabel="minutes", ylabel="memory, MB (PSS)", xlim=(0, None), ylim=(0, None))
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else {"Date": None})
