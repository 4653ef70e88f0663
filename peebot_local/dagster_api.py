"""What the local commands ask of the running Dagster webserver, over its GraphQL."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peebot_local.errors import MendableError
from peebot_local.services import CODE_LOCATION

_SPAN_TAG = "peebot/backfill"
_CODE_TAG = "peebot/code"
_KNOWN = """
query Known($assets: [AssetKeyInput!]) { assetNodes(assetKeys: $assets) { assetKey { path } } }
"""
_RELOAD = """
mutation Reload($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) { __typename }
}
"""
_NEWEST_RUN = "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }"
_LAUNCH = """
mutation Launch($backfill: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfill) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PartitionKeysNotFoundError { message }
  }
}
"""
_RESUME = """
mutation Resume($parameters: ReexecutionParams!) {
  reexecutePartitionBackfill(reexecutionParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_LATEST = """
query Latest($limit: Int!) {
  partitionBackfillsOrError(limit: $limit) {
    ... on PartitionBackfills {
      results { id status timestamp endTimestamp tags { key value } assetSelection { path } }
    }
  }
}
"""
_STATE = """
query State($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
      runs(limit: 1000) { stats { ... on RunStatsSnapshot { materializations } } }
      assetBackfillData {
        assetBackfillStatuses {
          ... on AssetPartitionsStatusCounts {
            numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed
          }
        }
      }
    }
  }
}
"""
_SUCCEEDED = {"COMPLETED", "COMPLETED_SUCCESS"}
_FINISHED = {*_SUCCEEDED, "COMPLETED_FAILED", "FAILED", "CANCELED"}
_LATEST_BACKFILLS = 100
_DEFINITIONS_S = 120.0
_DEFINITIONS_POLL_S = 1.0


@dataclass(frozen=True)
class BackfillState:
    """How far a backfill is, in partitions of all its assets together.

    Dagster's daemon looks after a backfill each half minute; `written`, what its runs have materialized, is
    newer than the others.
    """

    status: str
    partitions: int
    materialized: int
    failed: int
    written: int
    error: str | None

    @property
    def finished(self) -> bool:
        return self.status in _FINISHED

    @property
    def succeeded(self) -> bool:
        return self.status in _SUCCEEDED


@dataclass(frozen=True)
class Backfill:
    """One that was launched before; it has ended or, if it did not say when, was launched at `at` (UTC).

    `code` names the versions of what it computes, None when that is not known.
    """

    backfill_id: str
    status: str
    assets: frozenset[str]
    code: str | None
    at: datetime

    @property
    def in_progress(self) -> bool:
        return self.status not in _FINISHED

    @property
    def succeeded(self) -> bool:
        return self.status in _SUCCEEDED


@dataclass(frozen=True)
class DagsterApi:
    """The webserver at `ui_url`, which does not end with a slash."""

    ui_url: str

    def newest_run(self) -> str | None:
        """The id of the run that was made last; None when there is none."""
        runs = self._ask(_NEWEST_RUN, {})["runsOrError"].get("results", [])
        return str(runs[0]["runId"]) if runs else None

    def launch_backfill(
        self, assets: Sequence[str], start: datetime, end: datetime, title: str, code: str
    ) -> str:
        """Ask for a backfill of all hours (UTC) that [start, end) touches; its id.

        `code` names the versions of what it computes.
        """
        self._wait_until_known(assets)
        hours = {"start": _hour_key(start), "end": _hour_key(end - timedelta(microseconds=1))}
        selection = [{"assetKey": {"path": [asset]}, "partitions": {"range": hours}} for asset in assets]
        backfill = {"partitionsByAssets": selection, "title": title, "tags": _tags(start, end, code)}
        answer = self._ask(_LAUNCH, {"backfill": backfill})
        result = answer["launchPartitionBackfill"]
        if result["__typename"] != "LaunchBackfillSuccess":
            reason = str(result.get("message", result["__typename"])).strip().splitlines()[0]
            raise MendableError(f"Dagster refuses to backfill {hours['start']} to {hours['end']}: {reason}")
        return str(result["backfillId"])

    def _wait_until_known(self, assets: Sequence[str]) -> None:
        """The webserver answers before it has loaded the definitions, and while their server starts again."""
        keys = [{"path": [asset]} for asset in assets]
        deadline = time.monotonic() + _DEFINITIONS_S
        while True:
            nodes = self._ask(_KNOWN, {"assets": keys})["assetNodes"]
            if len(nodes) == len(assets):
                return
            if time.monotonic() > deadline:
                raise MendableError(
                    f"Dagster does not know all of PeeBot's assets; see why on {self.ui_url}/deployment"
                )
            time.sleep(_DEFINITIONS_POLL_S)
            self._ask(_RELOAD, {"location": CODE_LOCATION})

    def latest_backfill(self, start: datetime, end: datetime) -> Backfill | None:
        """The latest backfill that was asked for here and is of just this span (UTC)."""
        found = self._ask(_LATEST, {"limit": _LATEST_BACKFILLS})["partitionBackfillsOrError"]
        for backfill in found.get("results", []):
            tags = {tag["key"]: tag["value"] for tag in backfill["tags"]}
            if tags.get(_SPAN_TAG) == _span(start, end):
                assets = frozenset("/".join(key["path"]) for key in backfill["assetSelection"] or [])
                at = datetime.fromtimestamp(backfill["endTimestamp"] or backfill["timestamp"], UTC)
                return Backfill(backfill["id"], backfill["status"], assets, tags.get(_CODE_TAG), at)
        return None

    def resume_backfill(self, backfill_id: str) -> str | None:
        """Ask for what that ended backfill has left; the id of the new one, None if nothing is left."""
        parameters = {"parentRunId": backfill_id, "strategy": "FROM_FAILURE"}
        result = self._ask(_RESUME, {"parameters": parameters})["reexecutePartitionBackfill"]
        if result["__typename"] == "LaunchBackfillSuccess":
            return str(result["backfillId"])
        reason = str(result.get("message", result["__typename"]))
        if "no missing materializations" in reason:
            return None
        raise MendableError(
            f"Dagster refuses to go on with the backfill {backfill_id}: {reason.strip().splitlines()[0]}"
        )

    def backfill_state(self, backfill_id: str) -> BackfillState:
        """How far that backfill is."""
        backfill = self._ask(_STATE, {"id": backfill_id})["partitionBackfillOrError"]
        if backfill["__typename"] != "PartitionBackfill":
            raise MendableError(f"Dagster knows no backfill {backfill_id}")
        data = backfill["assetBackfillData"]
        counts = [count for count in data["assetBackfillStatuses"] if count] if data else []
        error = backfill["error"]
        return BackfillState(
            status=backfill["status"],
            partitions=sum(count["numPartitionsTargeted"] for count in counts),
            materialized=sum(count["numPartitionsMaterialized"] for count in counts),
            failed=sum(count["numPartitionsFailed"] for count in counts),
            written=sum(run["stats"].get("materializations", 0) for run in backfill["runs"]),
            error=error["message"].strip().splitlines()[0] if error else None,
        )

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  http or https, as Settings says
            f"{self.ui_url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60.0) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise MendableError(
                f"Dagster's webserver at {self.ui_url} refuses the request "
                f"(HTTP {error.code}: {_reason(error)})"
            ) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise MendableError(
                f"Dagster's webserver at {self.ui_url} does not answer ({error}); start it, "
                "or say where it is: --ui or PEEBOT_UI_URL"
            ) from error
        if answer.get("errors"):
            raise MendableError(f"Dagster refuses the request: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data


def _reason(error: urllib.error.HTTPError) -> str:
    """The first line of what the webserver says, which is GraphQL's JSON or plain text."""
    body = error.read().decode(errors="replace").strip()
    match _parsed(body):
        case {"errors": [{"message": str(message)}, *_]}:
            body = message
    return (body.splitlines() or [str(error.reason)])[0]


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _tags(start: datetime, end: datetime, code: str) -> list[dict[str, str]]:
    tags = {_SPAN_TAG: _span(start, end), _CODE_TAG: code, "dagster/priority": "-1"}
    return [{"key": key, "value": value} for key, value in tags.items()]


def _span(start: datetime, end: datetime) -> str:
    return f"{_hour_key(start)}/{_hour_key(end - timedelta(microseconds=1))}"


def _hour_key(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d-%H}:00"
