"""One MERGE subscription: which items and fields, and what the client knows of each item."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingest_daemon.tlcp import Values, encode_values, format_notification, format_update
from iss_simulator.feed import FIELDS


class RefusedError(Exception):
    """A request that the server answers with REQERR or CONERR."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Subscription:
    """Turns the fields of an item into the `U` lines that the client needs; full speed, nothing conflated."""

    def __init__(
        self, number: int, items: tuple[str, ...], columns: tuple[int, ...], unfiltered: bool
    ) -> None:
        self.number = number
        self.items = items
        self.unfiltered = unfiltered
        self._columns = columns
        self._known: list[Values | None] = [None] * len(items)
        self._positions: dict[str, list[int]] = {}
        for position, item in enumerate(items):
            self._positions.setdefault(item, []).append(position)

    @classmethod
    def from_request(cls, parameters: Mapping[str, str], is_known: Callable[[str], bool]) -> Subscription:
        """Read a `control` add; raises RefusedError (21 bad group, 23 bad schema, 24 mode, 68 no number)."""
        if parameters.get("LS_mode") != "MERGE":
            raise RefusedError(24, "Only MERGE is allowed for these items")
        items = tuple(parameters.get("LS_group", "").split())
        if not items or not all(map(is_known, items)):
            raise RefusedError(21, "Bad item group name")
        schema = parameters.get("LS_schema", "").split()
        if not schema or not set(schema) <= set(FIELDS):
            raise RefusedError(23, "Bad field schema name")
        return cls(
            _number(parameters),
            items,
            tuple(map(FIELDS.index, schema)),
            parameters.get("LS_requested_max_frequency") == "unfiltered",
        )

    def opening_lines(self) -> list[str]:
        """SUBOK and CONF."""
        return [
            format_notification("SUBOK", self.number, len(self.items), len(self._columns)),
            self.configuration_line(),
        ]

    def configuration_line(self) -> str:
        """CONF; every subscription gets full speed, whatever it asked for."""
        return format_notification(
            "CONF", self.number, "unlimited", "unfiltered" if self.unfiltered else "filtered"
        )

    def update_lines(self, item: str, fields: Values) -> list[str]:
        """The `U` lines (one per position of the item in the group) for new FIELDS of an item."""
        lines = []
        for position in self._positions.get(item, ()):
            values = tuple([fields[column] for column in self._columns])
            value_list = encode_values(values, self._known[position])
            self._known[position] = values
            lines.append(format_update(self.number, position + 1, value_list))
        return lines


def _number(parameters: Mapping[str, str]) -> int:
    text = parameters.get("LS_subId", "")
    if not text.isdecimal():
        raise RefusedError(68, "LS_subId is not a number")
    return int(text)
