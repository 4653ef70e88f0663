"""What the local commands ask of the running Dagster webserver, over its GraphQL."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peebot_local.errors import MendableError

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
_STATE = """
query State($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
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
_FINISHED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}


@dataclass(frozen=True)
class BackfillState:
    """How far a backfill is, in partitions of all its assets together."""

    status: str
    partitions: int
    materialized: int
    failed: int
    error: str | None

    @property
    def finished(self) -> bool:
        return self.status in _FINISHED

    @property
    def succeeded(self) -> bool:
        return self.status in {"COMPLETED", "COMPLETED_SUCCESS"}


@dataclass(frozen=True)
class DagsterApi:
    """The webserver at `ui_url`."""

    ui_url: str

    def launch_backfill(self, assets: Sequence[str], start: datetime, end: datetime, title: str) -> str:
        """Ask for a backfill of all hours (UTC) that [start, end) touches; its id."""
        hours = {"start": _hour_key(start), "end": _hour_key(end - timedelta(microseconds=1))}
        selection = [{"assetKey": {"path": [asset]}, "partitions": {"range": hours}} for asset in assets]
        answer = self._ask(_LAUNCH, {"backfill": {"partitionsByAssets": selection, "title": title}})
        result = answer["launchPartitionBackfill"]
        if result["__typename"] != "LaunchBackfillSuccess":
            reason = str(result.get("message", result["__typename"])).strip().splitlines()[0]
            raise MendableError(f"Dagster refuses to backfill {hours['start']} to {hours['end']}: {reason}")
        return str(result["backfillId"])

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
            error=error["message"].strip().splitlines()[0] if error else None,
        )

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  always http on loopback
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
                f"Dagster's webserver at {self.ui_url} does not answer ({error}); is './peebot up' running?"
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


def _hour_key(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d-%H}:00"
