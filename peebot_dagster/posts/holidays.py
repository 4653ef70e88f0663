"""The days on which there is more to say."""

from __future__ import annotations

from datetime import date

_EVERY_YEAR = {
    (1, 1): "new-year",
    (2, 2): "groundhog-day",
    (2, 14): "valentines-day",
    (2, 29): "leap-day",
    (3, 14): "pi-day",
    (3, 22): "world-water-day",
    (4, 1): "april-fools-day",
    (4, 12): "human-space-flight-day",
    (4, 22): "earth-day",
    (5, 4): "star-wars-day",
    (5, 25): "towel-day",
    (6, 21): "solstice",
    (7, 20): "moon-landing-day",
    (10, 1): "coffee-day",
    (10, 4): "sputnik-day",
    (10, 31): "halloween",
    (11, 2): "station-birthday",
    (11, 19): "world-toilet-day",
    (12, 24): "christmas-eve",
    (12, 25): "christmas",
    (12, 31): "new-years-eve",
}
"""Month and day. On 2 November 2000 the first crew moved in; 19 November is a day of the United Nations."""

FRIDAY_THE_13TH = "friday-the-13th"

HOLIDAYS = frozenset({*_EVERY_YEAR.values(), FRIDAY_THE_13TH})


def holidays(day: date) -> frozenset[str]:
    """The names of the special days that this date is; often none."""
    names = {_EVERY_YEAR.get((day.month, day.day))}
    if day.day == 13 and day.isoweekday() == 5:
        names.add(FRIDAY_THE_13TH)
    return frozenset(name for name in names if name is not None)
