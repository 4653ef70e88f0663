"""The backlash ("play") operator: what remains of an integer level when the dither at a truncation border is
removed."""

from __future__ import annotations


class Backlash:
    """Play of width 1 %: the level counts as moved once it leaves the band [lo, hi], and the band moves
    along.

    A value above the band is an up-step, a value below it a down-step, and nothing else is. There is no
    window, no lag and nothing to tune; the sum of all steps is the way that the band has moved.

    A single value does not tell on which side of it the band lies. So the band starts with the width 0 and
    opens silently to its full width: the first movement by up to 1 % is never a step. One change of an
    integer value is enough, whatever the direction; from then on the band is the same as if the whole history
    were known.
    """

    __slots__ = ("hi", "lo")

    width = 1.0

    def __init__(self, value: float) -> None:
        self.lo = value
        self.hi = value

    def move(self, value: float) -> float:
        """Take the next value (%) and return the signed step (%): positive up, negative down, 0.0 for
        none."""
        if value > self.hi:
            step = value - max(self.hi, self.lo + self.width)
            if step <= 0.0:
                self.hi = value
                return 0.0
            self.hi, self.lo = value, value - self.width
            return step
        if value < self.lo:
            step = value - min(self.lo, self.hi - self.width)
            if step >= 0.0:
                self.lo = value
                return 0.0
            self.lo, self.hi = value, value + self.width
            return step
        return 0.0
