"""The Dagster UI in a real browser, on a running demo.

With PEEBOT_SCREENSHOTS=DIR it leaves the README's pictures there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from benchmarks.harness.browser import NAMES, installed_browser, open_browser
from peebot_dagster.detectors.registry import detectors_by_settings
from tests.system.conftest import Peebot
from tests.system.test_demo import ask_dagster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BACKFILL_IDS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id } } } }"
LAUNCH = """mutation($execution: ExecutionParams!) {
    launchRun(executionParams: $execution) { ... on LaunchRunSuccess { run { runId } } }
}"""
RUN_STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
REPORT_JOB = {
    "repositoryLocationName": "peebot",
    "repositoryName": "__repository__",
    "pipelineName": "station_report_job",
}
MATERIALIZED = "{ assetNodes { assetKey { path } assetMaterializations(limit: 1) { timestamp } } }"
OBSERVED = "{ assetNodes { assetKey { path } assetObservations(limit: 1) { timestamp } } }"
PATIENCE_MS = 60_000

VIEWS = {
    "assets": ("telemetry_reading", "urine_tank_events", "station_report"),
    "assets/telemetry_reading?view=overview": ("readings_per_second", "lag_s"),
    "assets/telemetry_reading?view=checks": ("feed_is_live", "clocks_agree"),
    "assets/posts?view=lineage": ("urine_tank_events", "public_timelines"),
    "assets/telemetry_minute?view=partitions": ("Failed (0)",),
    "assets/lightstreamer_feed?view=overview": ("Description",),
    "assets/public_timelines?view=overview": ("Description",),
    "runs": ("publish_posts",),
    "jobs": ("hourly_assets_job", "publish_posts"),
    "automation": ("live_detection", "feed_state", "hourly_assets"),
    "deployment": ("peebot",),
}
"""Each further page that a user opens, and what must be there to be read."""

TABS = {
    "overview": ("detector_version", "hourly_assets_job"),
    "partitions": ("Failed (0)",),
    "events": ("Filter",),
    "checks": ("ran_without_error",),
    "lineage": ("telemetry_reading", "telemetry_minute"),
}
"""Each tab of a detector's page, and what must be there."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if installed_browser() is None:
        assert "PEEBOT_REQUIRE_BROWSER" not in os.environ, "no browser is installed"
        pytest.skip(f"the browser test needs one of {', '.join(NAMES)}")
    with open_browser() as browser:
        yield browser


def keep(page: Page, name: str) -> None:
    folder = os.environ.get("PEEBOT_SCREENSHOTS")
    if folder is not None:
        page.wait_for_timeout(1500)  # for the picture only: let the graph's animation end
        # 128 colours: a page's text and lines need no more, and a picture is a third as big.
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(128)
        picture.save(Path(folder) / f"{name}.png", optimize=True)


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

    # Large enough for the whole graph to be drawn with names.
    page.set_viewport_size({"width": 1900, "height": 1300})
    page.goto(f"{ui_url}/asset-groups")
    for asset in ("telemetry_reading", "telemetry_minute", "urine_tank_events", "posts"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    fit(page)
    keep(page, "lineage")

    page.set_viewport_size({"width": 1750, "height": 1000})
    page.goto(f"{ui_url}/assets/urine_tank_events?view=partitions")
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    expect(page.get_by_text("Missing (0)")).to_be_visible()
    keep(page, "urine_tank_partitions")

    # The newest may be the hourly observation with its picture.
    nodes = ask_dagster(ui_url, MATERIALIZED)["assetNodes"]
    newest = {node["assetKey"]["path"][0]: node["assetMaterializations"] for node in nodes}
    (made,) = newest["urine_tank_events"]
    page.goto(f"{ui_url}/assets/urine_tank_events?view=events&time={made['timestamp']}")
    expect(page.get_by_text("toilet_visit", exact=True).first).to_be_visible()
    keep(page, "urine_tank_events")

    page.goto(f"{ui_url}/assets/posts?view=events")
    expect(page.get_by_text("dry_run", exact=True).first).to_be_visible()
    keep(page, "posts")

    page.set_viewport_size({"width": 1500, "height": 950})
    for address, told in VIEWS.items():
        page.goto(f"{ui_url}/{address}")
        for text in told:
            expect(page.get_by_text(text, exact=True).first).to_be_visible()
    the_page_of_each_detector_opens(page, ui_url)
    the_pictures_are_shown(page, ui_url, peebot)
    the_live_page_shows_what_happens(page, peebot)
    assert errors == []


def fit(page: Page) -> None:
    """Two steps out: Dagster's graph fills the width, whatever that cuts off below."""
    for _ in range(2):
        page.get_by_label("zoom_out").click()


def the_page_of_each_detector_opens(page: Page, ui_url: str) -> None:
    """Every tab of one, as all are made by the same factory, and what is first seen of each other."""
    for detector in detectors_by_settings({}):
        for tab, told in TABS.items():
            if tab != "overview" and detector.name != "urine_tank":
                continue
            page.goto(f"{ui_url}/assets/{detector.name}_events?view={tab}")
            for text in told:
                expect(page.get_by_text(text, exact=True).first).to_be_visible()


def the_pictures_are_shown(page: Page, ui_url: str, peebot: Peebot) -> None:
    """Those of the hourly report, which is asked for as nobody waits for an hour's end here."""
    launched = ask_dagster(ui_url, LAUNCH, {"execution": {"selector": REPORT_JOB, "mode": "default"}})
    run = launched["launchRun"]["run"]["runId"]
    # An overview that is opened before its asset is materialized stays as it is.
    peebot.wait_for(lambda: has_succeeded(ui_url, run), 120)
    told_at = observations(ui_url)

    page.goto(f"{ui_url}/assets/station_report?view=overview")
    page.get_by_placeholder("Filter metadata keys").fill("tank_level_24_h")
    page.get_by_text("[Show Markdown]", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("img").last).to_be_visible()
    keep(page, "station_report")

    for asset, timestamp in told_at.items():
        page.goto(f"{ui_url}/assets/{asset}?view=events&time={timestamp}")
        page.get_by_text("[Show Markdown]", exact=True).first.click()
        expect(page.get_by_role("dialog").get_by_role("img").last).to_be_visible()
        keep(page, f"detector_{asset.removesuffix('_events')}" if asset.endswith("_events") else asset)


def has_succeeded(ui_url: str, run: str) -> bool:
    status = ask_dagster(ui_url, RUN_STATUS, {"run": run})["runOrError"]["status"]
    assert status not in ("FAILURE", "CANCELED"), status
    return bool(status == "SUCCESS")


def observations(ui_url: str) -> dict[str, str]:
    """When each asset that has pictures besides its materializations got them."""
    nodes = ask_dagster(ui_url, OBSERVED)["assetNodes"]
    found = {
        node["assetKey"]["path"][0]: node["assetObservations"][0]["timestamp"]
        for node in nodes
        if node["assetObservations"]
    }
    detectors = {f"{detector.name}_events" for detector in detectors_by_settings({})}
    assert {"telemetry_reading", "telemetry_minute", *detectors} <= found.keys()
    return found


def the_live_page_shows_what_happens(page: Page, peebot: Peebot) -> None:
    page.goto(peebot.status()["live_url"])
    expect(page.get_by_text("AOS: signal acquired")).to_be_visible()
    expect(page.locator("#visit .figure")).to_be_visible()
    expect(page.locator("#posts blockquote").first).to_be_visible()
    keep(page, "live")
    # What is committed from now on is shown without the page being loaded anew.
    assert peebot.run("mute").returncode == 0
    expect(page.get_by_text("Muted: nothing is posted")).to_be_visible()
    assert peebot.run("unmute").returncode == 0
    expect(page.get_by_text("Muted: nothing is posted")).not_to_be_visible()
    without_script = page.context.browser
    assert without_script is not None
    still = without_script.new_page(java_script_enabled=False)
    still.goto(page.url)
    expect(still.locator("#posts blockquote").first).to_be_visible()
    still.close()
