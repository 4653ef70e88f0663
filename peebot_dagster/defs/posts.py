"""Publishing: the asset `posts`, made by the op `tweet` that drains the outbox; and when a run is due."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg

from peebot_dagster.defs.detectors import events_key
from peebot_dagster.defs.hourly import UNFINISHED
from peebot_dagster.defs.labels import GROUP, OWNERS, table_metadata
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.posts import ledger
from peebot_dagster.posts.ledger import PostDecision
from peebot_dagster.posts.outbox import publish_new_events
from peebot_dagster.posts.policy import PolicyError, PostPolicy, decide
from peebot_dagster.posts.publishers import (
    PlatformError,
    platform_from_environment,
    publisher_from_environment,
)

POSTS = dg.AssetKey("posts")

SHOWN_DECISIONS = 50

SETTINGS_ERRORS = (PlatformError, PolicyError)
"""What is wrong with the environment; the message is all that one needs to know."""

REST_AFTER_FAILURE = timedelta(minutes=1)
"""A run that failed (of the store or the process: a refusal is a decision) is not repeated at once."""

REST_WITHOUT_POST = timedelta(minutes=10)
"""Events that only have to be noted as skipped wait for each other: a replay brings them by the minute."""


def posts_asset(detectors: Sequence[Detector]) -> dg.AssetsDefinition:
    """The asset `posts`, downstream of the events of all detectors."""
    inputs = {events_key(detector).to_python_identifier(): events_key(detector) for detector in detectors}

    @dg.op(
        name="tweet", ins={name: dg.In(dg.Nothing) for name in inputs}, out=dg.Out(dg.Nothing), pool="posts"
    )
    def tweet(context: dg.OpExecutionContext, store: Store) -> Iterator[dg.Output[None]]:
        """Publish what is new in the outbox. Safe to run by hand at any time: the ledger decides, once."""
        try:
            publisher = publisher_from_environment(os.environ)
            policy = PostPolicy.from_environment(os.environ)
        except SETTINGS_ERRORS as error:
            raise dg.Failure(f"Nothing is posted: {error}.", allow_retries=False) from error
        with store.connect() as connection:
            decisions = publish_new_events(connection, publisher, policy, datetime.now(UTC))
        for decision in decisions[:SHOWN_DECISIONS]:
            context.log.info(
                f"{decision.state}: {decision.text or decision.reason} (event {decision.event_id})"
            )
        yield dg.Output(None, metadata=decisions_metadata(publisher.platform, decisions))

    asset = dg.AssetsDefinition.from_op(
        tweet, keys_by_input_name=inputs, keys_by_output_name={"result": POSTS}, group_name=GROUP
    )
    return asset.map_asset_specs(
        lambda spec: spec.replace_attributes(
            description=(
                "What was told to the world, and why the rest was not: one row per event and platform.\n\n"
                "The op `tweet` claims, sends and records each new event once; a dry run until all "
                "credentials for X are in the environment. Never from a backfill: old events are skipped."
            ),
            owners=OWNERS,
            kinds={"postgres", "python", "x"},
            tags={"domain": "iss"},
            metadata=table_metadata(
                "post",
                ("event_id", "uuid", "The event."),
                ("platform", "text", "x, or dry_run."),
                (
                    "state",
                    "text",
                    "claimed (being sent), sent, dry_run (would have been sent), skipped (policy), "
                    "failed (refused), unknown (crashed while sending; not retried).",
                ),
                ("text", "text", "The text, when one was composed."),
                ("external_id", "text", "Id on the platform."),
                (
                    "reason",
                    "text",
                    "Why it is not sent: cooldown, stale, low_confidence, retracted, ... "
                    "or the error of the platform.",
                ),
            ),
        )
    )


def decisions_metadata(platform: str, decisions: Sequence[PostDecision]) -> dict[str, dg.MetadataValue]:
    """What a posting run decided: numbers by state, texts to read, and a table of text, decision and link."""
    states = Counter(decision.state for decision in decisions)
    texts = [
        f"> {decision.text}\n\n{decision.link or decision.state}"
        for decision in decisions
        if decision.state in ("sent", "dry_run")
    ]
    return {
        "platform": dg.MetadataValue.text(platform),
        **{
            state: dg.MetadataValue.int(states[state])
            for state in ("sent", "dry_run", "skipped", "failed", "unknown")
        },
        "texts": dg.MetadataValue.md("\n\n".join(texts) or "Nothing was posted."),
        "decisions": dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        "event": str(decision.event_id),
                        "decision": decision.state,
                        "reason": decision.reason or "",
                        "text": decision.text or "",
                        "link": decision.link or "",
                    }
                )
                for decision in decisions[-SHOWN_DECISIONS:]
            ],
            schema=dg.TableSchema(
                columns=[
                    dg.TableColumn("event", "string"),
                    dg.TableColumn("decision", "string"),
                    dg.TableColumn("reason", "string"),
                    dg.TableColumn("text", "string"),
                    dg.TableColumn("link", "string"),
                ]
            ),
        ),
    }


posts_job = dg.define_asset_job(
    "publish_posts",
    selection=dg.AssetSelection.assets(POSTS),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": 300, "dagster/priority": 10},
    description="Drains the outbox: one run publishes, or declines with a reason, all events that are new.",
)


def posting_is_due(instance: dg.DagsterInstance, connection: psycopg.Connection, now: datetime) -> bool:
    """Whether to start a posting run at `now` (UTC): one at a time, and at once only if it will post.

    One of SETTINGS_ERRORS when the environment does not tell where to and when.
    """
    policy = PostPolicy.from_environment(os.environ)
    platform = platform_from_environment(os.environ)
    candidates = ledger.undecided(connection, platform)
    if not candidates:
        return False
    recent = ledger.recent_posts(connection, platform)
    actions = {decide(candidate, now, recent, policy).action for candidate in candidates}
    if actions == {"wait"}:
        return False
    last = next(iter(instance.get_run_records(dg.RunsFilter(job_name=posts_job.name), limit=1)), None)
    if last is None:
        return True
    if last.dagster_run.status in UNFINISHED:
        return False
    rest = REST_AFTER_FAILURE if "publish" in actions else REST_WITHOUT_POST
    succeeded = last.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    return ("publish" in actions and succeeded) or now - last.create_timestamp > rest
