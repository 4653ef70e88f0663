"""The channel catalogue as last known, kept beside the spool: to listen before the database is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

_NAME = "items.json"

logger = logging.getLogger(__name__)


def remember(folder: Path, items: Sequence[str]) -> None:
    """Keep the items for the next start; a disk that is full is no reason not to go on."""
    draft = folder / f"{_NAME}.new"
    try:
        draft.write_text(json.dumps(list(items)))
        draft.replace(folder / _NAME)
    except OSError as error:
        logger.warning(
            "the channels could not be noted down for the next start: %(error)s", {"error": error.strerror}
        )


def recall(folder: Path) -> Sequence[str] | None:
    """The items that were kept last; None when there are none."""
    try:
        items = json.loads((folder / _NAME).read_text())
    except (FileNotFoundError, ValueError):
        return None
    is_ours = isinstance(items, list) and all(isinstance(item, str) for item in items)
    return items if is_ours and items else None
