"""Quantiles of measurements. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Weighted:
    """Values in ascending order, each with how often it was measured."""

    values: tuple[tuple[float, int], ...]

    @classmethod
    def of(cls, values: Iterable[tuple[float, int]]) -> Weighted:
        """From (value, count) in any order."""
        return cls(tuple(sorted(values)))

    @classmethod
    def of_each(cls, values: Iterable[float]) -> Weighted:
        """From single values in any order."""
        return cls.of((value, 1) for value in values)

    def quantile(self, share: float) -> float | None:
        """The least value that at least `share` (0 to 1) of all do not exceed; None without any."""
        remaining = share * sum(count for _, count in self.values)
        for value, count in self.values:
            remaining -= count
            if remaining <= 0:
                return value
        return self.values[-1][0] if self.values else None
