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
from peebot_dagster.posts.ledger import PostDecision
from peebot_dagster.posts.outbox import due_actions, publish_everywhere
from peebot_dagster.posts.policy import PolicyError, PostPolicy
from peebot_dagster.posts.publishers import (
    PlatformError,
    destinations,
    platforms_from_environment,
    publishers_from_environment,
)
from peebot_dagster.urgent_runs import URGENT

POSTS = dg.AssetKey("posts")

SHOWN_DECISIONS = 50

SETTINGS_ERRORS = (PlatformError, PolicyError)
"""What is wrong with the environment; the message is all that one needs to know."""

REST_AFTER_FAILURE = timedelta(minutes=1)
"""A run that failed (of the store or the process: a refusal is a decision) is not repeated at once."""

REST_WITHOUT_POST = timedelta(minutes=10)
"""Events that only have to be noted as skipped wait for each other: a replay brings them by the minute."""


def posts_asset(detectors: Sequence[Detector]) -> dg.AssetsDefinition:
    """The asset `posts`, downstream of the detectors whose events are posted about."""
    posted = _posted_event_types()
    inputs = {
        events_key(detector).to_python_identifier(): events_key(detector)
        for detector in detectors
        if posted.intersection(detector.event_types)
    }

    @dg.op(
        name="tweet", ins={name: dg.In(dg.Nothing) for name in inputs}, out=dg.Out(dg.Nothing), pool="posts"
    )
    def tweet(context: dg.OpExecutionContext, store: Store) -> Iterator[dg.Output[None]]:
        """Publish what is new in the outbox. Safe to run by hand at any time: the ledger decides, once."""
        try:
            publishers = publishers_from_environment(os.environ)
            policy = PostPolicy.from_environment(os.environ)
        except SETTINGS_ERRORS as error:
            raise dg.Failure(f"Nothing is posted: {error}.", allow_retries=False) from error
        decisions = publish_everywhere(store.connect, publishers, policy, lambda: datetime.now(UTC))
        for decision in decisions[-SHOWN_DECISIONS:]:
            context.log.info(
                f"{decision.platform}, {decision.state}: {decision.text or decision.reason} "
                f"(event {decision.event_id})"
            )
        platforms = [publisher.platform for publisher in publishers]
        yield dg.Output(None, metadata=decisions_metadata(platforms, decisions))

    asset = dg.AssetsDefinition.from_op(
        tweet,
        keys_by_input_name=inputs,
        keys_by_output_name={"result": POSTS},
        group_name=GROUP,
        # What is new is in the last hour; to list the keys of all hours takes Dagster a second for each post.
        partition_mappings={name: dg.LastPartitionMapping() for name in inputs},
    )
    return asset.map_asset_specs(
        lambda spec: spec.replace_attributes(
            description=(
                "What was told to the world, and why the rest was not: one row per event and platform.\n\n"
                "The op `tweet` claims, sends and records each new event once; a dry run until the "
                "credentials of a platform are in the environment. Never from a backfill, a replay or a "
                "demo, unless asked by name. `./peebot mute` silences it at once."
            ),
            owners=OWNERS,
            kinds={"postgres", "python", "x"},
            tags={"domain": "iss"},
            metadata=table_metadata(
                "post",
                ("event_id", "uuid", "The event."),
                ("platform", "text", "x, bluesky, mastodon, or dry_run."),
                (
                    "state",
                    "text",
                    "claimed (being sent), sent, dry_run (would have been sent), skipped (policy), "
                    "failed (refused), unknown (crashed while sending; not retried).",
                ),
                ("text", "text", "The text, when one was composed."),
                (
                    "external_id",
                    "text",
                    "Id on the platform; NULL when nothing was sent, or nobody knows.",
                ),
                ("link", "text", "Where it can be read; NULL when it was not sent, or nobody knows."),
                (
                    "reason",
                    "text",
                    "Why it was not sent: retracted, replay, demo, backfill, stale, low_confidence, muted, "
                    "quiet_hours, rate_limited, cooldown, quota, no_joke, dry_run, crashed_while_sending, "
                    "or what the platform answered.",
                ),
            ),
        )
    )


def _posted_event_types() -> frozenset[str]:
    """What PEEBOT_POST_EVENTS says. Definitions load with wrong settings, too: the op tells of them."""
    try:
        return PostPolicy.from_environment(os.environ).event_types
    except PolicyError:
        return PostPolicy().event_types


def decisions_metadata(
    platforms: Sequence[str], decisions: Sequence[PostDecision]
) -> dict[str, dg.MetadataValue]:
    """What a posting run decided: numbers by state, texts to read, and a table of text, decision and link."""
    states = Counter(decision.state for decision in decisions)
    texts = [
        # The two blanks are Markdown's end of a line.
        f"> {(decision.text or '').strip()}".replace("\n", "  \n> ")
        + f"\n\n{decision.link or decision.state}"
        for decision in decisions
        if decision.state in ("sent", "dry_run")
    ]
    shown = decisions[-SHOWN_DECISIONS:]
    return {
        "platforms": dg.MetadataValue.text(", ".join(platforms)),
        **{
            state: dg.MetadataValue.int(states[state])
            for state in ("sent", "dry_run", "skipped", "failed", "unknown")
        },
        "texts": dg.MetadataValue.md("\n\n".join(texts) or "Nothing was posted."),
        "decisions": dg.MetadataValue.table(
            records=[dg.TableRecord(_shown(decision)) for decision in shown],
            schema=dg.TableSchema(
                columns=[dg.TableColumn(name, "string") for name in _COLUMNS],
            ),
        ),
    }


_COLUMNS = ("event", "platform", "decision", "reason", "text", "link")


def _shown(decision: PostDecision) -> dict[str, str | int | float | bool | None]:
    values = (
        str(decision.event_id),
        decision.platform,
        decision.state,
        decision.reason or "",
        decision.text or "",
        decision.link or "",
    )
    return dict(zip(_COLUMNS, values, strict=True))


posts_job = dg.define_asset_job(
    "publish_posts",
    selection=dg.AssetSelection.assets(POSTS),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": 300, URGENT: "true"},
    description="Drains the outbox: one run publishes, or declines with a reason, all events that are new.",
)


def posting_complaint() -> str:
    """What keeps posts from some of the platforms, for people; empty when nothing does.

    One of SETTINGS_ERRORS as in posting_is_due.
    """
    return "".join(f" Nothing is posted there: {fault}." for fault in destinations(os.environ).faults)


def posting_is_due(instance: dg.DagsterInstance, connection: psycopg.Connection, now: datetime) -> bool:
    """Whether to start a posting run at `now` (UTC): one at a time, and at once only if it will post.

    One of SETTINGS_ERRORS when the environment does not tell where to and when.
    """
    policy = PostPolicy.from_environment(os.environ)
    actions = due_actions(connection, platforms_from_environment(os.environ), policy, now)
    if not actions & {"publish", "skip", "give_up"}:
        return False
    last = next(iter(instance.get_run_records(dg.RunsFilter(job_name=posts_job.name), limit=1)), None)
    if last is None:
        return True
    if last.dagster_run.status in UNFINISHED:
        return False
    rest = REST_AFTER_FAILURE if actions & {"publish", "give_up"} else REST_WITHOUT_POST
    succeeded = last.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    return ("publish" in actions and succeeded) or now - last.create_timestamp > rest
