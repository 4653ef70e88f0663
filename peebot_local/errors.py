"""What the user can mend."""

from __future__ import annotations


class MendableError(Exception):
    """Something that the user can mend: the message is one line that says what is wrong and what to do.

    `details` are further lines for the reader, such as the last lines of a log.
    """

    def __init__(self, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details
