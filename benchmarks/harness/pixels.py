"""When the live page shows what has been committed, seen in a real browser by the page's own clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.harness.report import progress
from peebot_local.errors import MendableError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LEVEL = "NODE3000005"
FIRST = 1000
"""Per cent: no level that the simulated station could tell."""
PAUSE_S = 0.4
_PATIENCE_MS = 10_000.0

# After the frame in which it is drawn: a frame callback runs before the drawing, one posted from it after.
_WATCH = """
() => {
  window.shown = {};
  new MutationObserver(() => {
    const level = document.getElementById("level");
    if (!level) return;
    const text = level.textContent;
    requestAnimationFrame(() => setTimeout(() => { window.shown[text] ??= Date.now() / 1000; }, 0));
  }).observe(document.getElementById("tank"), { childList: true, subtree: true, characterData: true });
}
"""
_STORE = """
WITH stored AS (
    INSERT INTO telemetry_reading
    SELECT channel_id, %(at)s, %(at)s, %(value)s, '', 24, false, %(value)s FROM telemetry_channel
    WHERE item_id = %(item)s RETURNING channel_id
)
SELECT pg_notify('telemetry_stored', channel_id::text) FROM stored
"""


def commit_to_pixel_s(browser: Browser, live_url: str, database_url: str, n: int) -> list[float]:
    """Seconds from the begin of each of `n` commits of a level until the browser has drawn it."""
    progress(f"{n} levels on the live page …")
    page = browser.new_page()
    page.goto(live_url)
    page.locator("#tank .figure").wait_for()
    page.evaluate(_WATCH)
    delays = []
    with psycopg.connect(database_url) as connection:
        for value in range(FIRST, FIRST + n):
            # A little ahead, so that no reading of the station is newer.
            at = datetime.now(UTC) + timedelta(seconds=5)
            connection.execute(_STORE, {"at": at, "value": value, "item": LEVEL})
            committed = time.time()
            connection.commit()
            delays.append(_shown(page, value) - committed)
            time.sleep(PAUSE_S)  # each value is shown before the next one is committed
    page.close()
    return delays


def _shown(page: Any, value: int) -> float:
    try:
        page.wait_for_function("value => window.shown[value]", arg=str(value), timeout=_PATIENCE_MS)
    except Exception as error:
        raise MendableError(
            f"the live page did not show {value} % within {_PATIENCE_MS / 1000:.0f} s"
        ) from error
    return float(page.evaluate("value => window.shown[value]", str(value)))
