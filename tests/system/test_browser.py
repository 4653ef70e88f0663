"""The Dagster UI in a real browser, on a running demo.

With PEEBOT_SCREENSHOTS=DIR it leaves the README's pictures there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.system.conftest import Peebot
from tests.system.test_demo import ask_dagster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It must ask no host but ours: neither for updates nor for its own telemetry.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BACKFILL_IDS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id } } } }"
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        assert "PEEBOT_REQUIRE_BROWSER" not in os.environ, "no browser is installed"
        pytest.skip(f"the browser test needs one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser
        browser.close()


def keep(page: Page, name: str) -> None:
    folder = os.environ.get("PEEBOT_SCREENSHOTS")
    if folder is not None:
        page.wait_for_timeout(1500)  # for the picture only: let the graph's animation end
        page.screenshot(path=Path(folder) / f"{name}.png")


def open_page(browser: Browser, url: str) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": 1400, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    return page, errors


def test_the_browser_shows_the_lineage_the_materializations_the_visit_and_the_joke(
    peebot: Peebot, browser: Browser
) -> None:
    peebot.start("demo")
    ui_url = peebot.wait_for_line("The Dagster UI: ", 180).rpartition(" ")[2]
    peebot.wait_for_line("would have been posted: ", 120)

    page, errors = open_page(browser, f"{ui_url}/runs?view=backfills")
    expect(page.get_by_text("48 partitions")).to_be_visible()
    # Dagster's daemon looks at a backfill each half minute, and this one has two runs.
    expect(page.get_by_text("Success", exact=True)).to_be_visible(timeout=3 * PATIENCE_MS)

    backfill, *_ = ask_dagster(ui_url, BACKFILL_IDS)["partitionBackfillsOrError"]["results"]
    page.set_viewport_size({"width": 1400, "height": 560})
    page.goto(f"{ui_url}/runs/b/{backfill['id']}")
    expect(page.get_by_text("telemetry_minute", exact=True).first).to_be_visible()
    expect(page.get_by_text("Completed").first).to_be_visible()
    keep(page, "backfill")

    # Wide enough for the graph to show what each asset is.
    page.set_viewport_size({"width": 1900, "height": 1300})
    page.goto(f"{ui_url}/asset-groups")
    for asset in ("telemetry_reading", "telemetry_minute", "urine_tank_events", "posts"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    keep(page, "lineage")

    page.set_viewport_size({"width": 1750, "height": 1000})
    page.goto(f"{ui_url}/assets/urine_tank_events?view=partitions")
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    expect(page.get_by_text("Missing (0)")).to_be_visible()
    keep(page, "urine_tank_partitions")

    page.goto(f"{ui_url}/assets/urine_tank_events?view=events")
    expect(page.get_by_text("toilet_visit", exact=True).first).to_be_visible()
    keep(page, "urine_tank_events")

    page.goto(f"{ui_url}/assets/posts?view=events")
    expect(page.get_by_text("dry_run", exact=True).first).to_be_visible()
    keep(page, "posts")

    assert errors == []
