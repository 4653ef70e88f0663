"""Falls of a level that are no liquid: a sensor that was reset to a lower value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peebot_dagster.detectors.bouts import JUMP_SPAN
from peebot_dagster.detectors.level_steps import Step


@dataclass(frozen=True)
class Plunge:
    """Down-steps that follow each other within 15 s."""

    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        return self.steps[0]

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def level_before(self) -> float:
        """The level (%) that the first step fell from, in terms of the backlash band."""
        return self.first.level - self.first.size

    @property
    def level_after(self) -> float:
        """The level (%) after the last step."""
        return self.last.level

    @property
    def amount(self) -> float:
        """The fall (%), negative."""
        return self.level_after - self.level_before

    @property
    def cadence(self) -> float | None:
        """None: it tells nothing."""
        return None


def plunges(steps: Sequence[Step], least: float, watermark: int) -> list[Plunge]:
    """Falls by `least` (%) or more that surely happened within 15 s, and that no rise answers in the next 15
    s: such a rise is judged itself.

    So a fall is told only when the watermark (microseconds since 1970 UTC) has passed it by 15 s.
    """
    found: list[Plunge] = []
    group: list[Step] = []
    for index, step in enumerate(steps):
        if step.size > 0:
            group = []
            continue
        group = [fall for fall in (*group, step) if step.at - fall.not_before <= JUMP_SPAN]
        if group and -sum(fall.size for fall in group) >= least:
            answer = next((later.at for later in steps[index + 1 :] if later.size > 0), watermark)
            if answer - step.at > JUMP_SPAN:
                found.append(Plunge(tuple(group)))
            group = []
    return found
