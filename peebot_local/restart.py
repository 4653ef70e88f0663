"""When a dead child is started again, and when enough is enough."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 8.0


@dataclass
class RestartPolicy:
    """Back-off of one child: doubles with each death within `window_s`, gives up at `most_deaths` of them."""

    most_deaths: int = 5
    window_s: float = 60.0
    _deaths: deque[float] = field(default_factory=deque)

    def died(self, now: float) -> float | None:
        """Note a death (monotonic seconds); the pause before the next start in seconds, None to give up."""
        self._deaths.append(now)
        while self._deaths[0] <= now - self.window_s:
            self._deaths.popleft()
        if len(self._deaths) >= self.most_deaths:
            return None
        return min(FIRST_DELAY_S * 2.0 ** (len(self._deaths) - 1), LONGEST_DELAY_S)
