"""Near real time: two sensors in turn keep watch, run the detectors on what is new, and ask for posting runs.

Events are stored within the tick: a run would cost two seconds before its first line. A tick waits for news,
and ends when it has some to tell Dagster. As the sensor daemon starts a sensor again only after up to 5 s,
the other sensor stands by and takes over in the same moment (decision 0016).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg

from peebot_dagster.defs.detectors import RAN_WITHOUT_ERROR, events_key, events_table, hour_counts
from peebot_dagster.defs.health import evaluation
from peebot_dagster.defs.partitions import HOURS, hour_key, steps
from peebot_dagster.defs.posts import SETTINGS_ERRORS, posting_complaint, posting_is_due, posts_job
from peebot_dagster.defs.resources import Store
from peebot_dagster.detection import detect_span, last_error, record_failure
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.heard import heard
from peebot_dagster.looks import Agenda, Looks
from peebot_dagster.states import QUICKEST, States
from peebot_dagster.store import HOUR, contiguous_spans
from peebot_dagster.under_way import UnderWay
from peebot_dagster.unreported import Unreported
from peebot_dagster.watch import Watch

SENSORS = ("live_detection", "live_detection_relief")

TURN = timedelta(seconds=10)
"""How long a tick keeps watch. With the time in which it waits for its turn that makes up to 20 s a tick."""

STAND_BY = 2 * TURN
"""How long a tick waits for its turn: together with the turn and a long look still below Dagster's 60 s."""

LONGEST_LOOK = timedelta(seconds=10)
"""A tick that has much to catch up with begins nothing after that time; the next one goes on."""

LONGEST_PIECE = timedelta(hours=12)
"""Of event time: what has been begun is not interrupted."""

RUN_IS_MADE_WITHIN = timedelta(seconds=20)
"""After a tick has asked for it; later the request counts as lost."""

REPORTED_HOURS_PER_TICK = 24


@dataclass
class Tick:
    """What one evaluation did, with the errors by detector.

    It looked at `hours`, up to `until` (UTC).
    """

    errors: dict[str, str] = field(default_factory=dict)
    hours: set[datetime] = field(default_factory=set)
    until: datetime | None = None
    changes: int = 0
    news: bool = False
    """Whether Dagster should hear of it now: an event more or less, or a failure."""

    def told(self) -> str:
        """What was done, in a line for whoever reads the ticks."""
        parts = [self.failures()] if self.errors else []
        if self.until is not None:
            changed = {0: "no event", 1: "1 event"}.get(self.changes, f"{self.changes} events")
            hours = "1 hour" if len(self.hours) == 1 else f"{len(self.hours)} hours"
            parts.append(f"Looked at {hours} up to {self.until:%H:%M:%S} UTC; {changed} changed.")
        return " ".join(parts) or "Nothing new."

    def failures(self) -> str:
        """Which detectors failed, and why, in a line."""
        reasons = (f"{name}: {' '.join(error.split())}" for name, error in self.errors.items())
        return f"Failed: {'; '.join(reasons)}."


class LiveDetection:
    """One tick's work on one connection. `clock` tells the time (UTC); the last three outlive the tick."""

    def __init__(
        self,
        connection: psycopg.Connection,
        detectors: Sequence[Detector],
        clock: Callable[[], datetime],
        unreported: Unreported,
        under_way: UnderWay,
        states: States,
    ) -> None:
        self._connection = connection
        self._unreported = unreported
        self._under_way = under_way
        self._detectors = {detector.name: detector for detector in detectors}
        self.clock = clock
        self._states = states
        self._looks = Looks(connection, detectors, states)
        self._errors_before = {d.name: last_error(connection, d) for d in detectors}
        connection.commit()
        self.tick = Tick()

    def look(self, until: datetime) -> tuple[datetime, frozenset[int]]:
        """Look at what is due, but begin nothing after `until` (UTC).

        When to look again if no notification comes (UTC), and the ids of the channels to be woken for.
        """
        agendas = self._looks.agendas(self.clock())
        looked: dict[str, timedelta] = {}
        for name, start, end in _pieces(agendas):
            if name in self.tick.errors:
                continue
            if self.clock() >= until:
                return self.clock(), frozenset()
            began = self.clock()
            self._detect(self._detectors[name], start, end)
            looked[name] = looked.get(name, timedelta(0)) + self.clock() - began
            self._states.looked(self._detectors[name], looked[name])
        # What broke in this tick rests until the next.
        able = {name: agenda for name, agenda in agendas.items() if name not in self.tick.errors}
        again_at = min((agenda.again_at for agenda in able.values()), default=until)
        if not all(agenda.complete for agenda in able.values()):
            again_at = self.clock()
        elif looked:
            now = self.clock()
            rests = (max(QUICKEST, self._states.rest(self._detectors[name], now)) for name in looked)
            again_at = min(again_at, now + min(rests))
        waking = [
            self._looks.waking(
                detector, able[name].resting or (name in looked and bool(detector.trigger_interval))
            )
            for name, detector in self._detectors.items()
            if name in able
        ]
        return again_at, frozenset().union(*waking)

    def _detect(self, detector: Detector, start: datetime, end: datetime) -> None:
        """Detect over a span. A detector that fails or hangs stops no other: it shows as a failed check."""
        tick, now = self.tick, self.clock()
        try:
            with self._under_way.alone(detector.name, now):
                result = detect_span(self._connection, detector, start, end)
        except psycopg.OperationalError:
            raise  # the store's fault, not the detector's: the tick fails and the next one catches up
        except Exception as failure:
            error = record_failure(self._connection, detector, failure)
            tick.errors[detector.name] = error
            tick.news = tick.news or error != self._errors_before[detector.name]
            return
        self._unreported.add(detector.name, result.changed_hours)
        hours = [hour for hour, _ in steps(start, end, HOUR)]
        self._unreported.add_if_newer(detector.name, hours[-1])
        self._looks.record(detector, hours, result, now)
        tick.news = tick.news or bool(result.new or result.retracted)
        tick.changes += len(result.new) + len(result.updated) + len(result.retracted)
        tick.hours |= set(hours)
        reached = min(result.watermark, end)
        tick.until = max(reached, tick.until or reached)

    def posting_is_due(self, instance: dg.DagsterInstance) -> tuple[bool, str]:
        """Whether a posting run is due, and what is wrong with the settings of the posts."""
        try:
            return posting_is_due(instance, self._connection, self.clock()), posting_complaint()
        except SETTINGS_ERRORS as error:
            return False, f" Nothing is posted: {error}."
        finally:
            self._connection.commit()

    def reports(self) -> list[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
        """What Dagster is told: hours that began or have changed events, and how each detector fares."""
        reports: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
        for name, detector in self._detectors.items():
            changed = self._unreported.take(name, REPORTED_HOURS_PER_TICK)
            try:
                materializations = _materializations(self._connection, detector, changed)
                channels = heard(self._connection, detector, self.clock()) if materializations else None
            except psycopg.Error:
                self._unreported.add(name, changed)
                raise
            reports += materializations
            error = last_error(self._connection, detector)
            # The UI shows a check for the latest materialisation only, so they go along with each.
            if channels is not None:
                reports.append(evaluation(channels, events_key(detector)))
            if materializations or error != self._errors_before[name]:
                reports.append(_check(detector, error))
        self._connection.commit()
        return reports


def _pieces(agendas: Mapping[str, Agenda]) -> list[tuple[str, datetime, datetime]]:
    """The spans to detect over, each with its detector: the newest first, so that live is never starved."""
    pieces: list[tuple[str, datetime, datetime]] = []
    for name, agenda in agendas.items():
        for start, end in contiguous_spans(agenda.hours):
            while end - start > LONGEST_PIECE:
                pieces.append((name, end - LONGEST_PIECE, end))
                end -= LONGEST_PIECE
            pieces.append((name, start, end))
    return sorted(pieces, key=lambda piece: piece[2], reverse=True)


def _materializations(
    connection: psycopg.Connection, detector: Detector, hours: Sequence[datetime]
) -> list[dg.AssetMaterialization]:
    reports: list[dg.AssetMaterialization] = []
    for hour in hours:
        # An hour before PEEBOT_PARTITIONS_START has events in the store, but no partition to show them.
        if not HOURS.has_partition_key(hour_key(hour)):
            continue
        metadata = hour_counts(connection, detector, hour, hour + HOUR)[hour]
        if not reports:
            metadata["latest_events"] = events_table(connection, detector, hour + HOUR)
        reports.append(
            dg.AssetMaterialization(events_key(detector), partition=hour_key(hour), metadata=metadata)
        )
    return reports[::-1]


def _check(detector: Detector, error: str | None) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=events_key(detector),
        check_name=RAN_WITHOUT_ERROR,
        passed=error is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=error or "The latest run ended without an error.",
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


def live_detection_sensors(
    detectors: Sequence[Detector], turn: timedelta = TURN, clock: Callable[[], datetime] = _utc_now
) -> list[dg.SensorDefinition]:
    """The sensors that keep watch over these detectors, each for a `turn`; zero: one look and no waiting."""

    requests, unreported, under_way = PostingRequests(), Unreported(), UnderWay()
    states = States(detectors)

    def live_sensor(name: str) -> dg.SensorDefinition:
        # Below the sensor daemon's own loop of 5 s: an interval of 5 beats against it and skips every other.
        @dg.sensor(
            name=name,
            job_name=posts_job.name,
            minimum_interval_seconds=1,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=(
                "Keeps watch in turn with its twin: runs the detectors as soon as a reading that concerns "
                "them is stored, stores their events, and starts a posting run when one is due. What it has "
                "seen is in the store, not in a cursor; to lose that costs a re-run."
            ),
        )
        def keep_watch(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
            with store.connect() as connection:
                with store.connect() as watching:
                    watching.autocommit = True
                    watch = Watch(watching)
                    if not watch.take(STAND_BY):
                        return dg.SensorResult(skip_reason="The other sensor keeps watch.")
                    live = LiveDetection(connection, detectors, clock, unreported, under_way, states)
                    due, complaint = _watch(live, watch, context.instance, requests, turn)
                # The twin has the watch now.
                reports = live.reports()
            if due:
                # The UI shows no skip reason beside a run.
                if live.tick.errors:
                    context.log.error(live.tick.failures())
                return dg.SensorResult(asset_events=reports, run_requests=[dg.RunRequest()])
            return dg.SensorResult(asset_events=reports, skip_reason=live.tick.told() + complaint)

        return keep_watch

    return [live_sensor(name) for name in SENSORS]


@dataclass
class PostingRequests:
    """When a posting run was last asked for (UTC): its twin is on watch before Dagster has made the run."""

    asked_at: datetime | None = None

    def may_ask(self, instance: dg.DagsterInstance, now: datetime) -> bool:
        """Whether to ask for a posting run at `now` (UTC), which is noted; a lost request is repeated."""
        if self.asked_at is not None and now - self.asked_at < RUN_IS_MADE_WITHIN:
            made = dg.RunsFilter(job_name=posts_job.name, created_after=self.asked_at)
            if not instance.get_runs_count(made):
                return False
        self.asked_at = now
        return True


def _watch(
    live: LiveDetection,
    watch: Watch,
    instance: dg.DagsterInstance,
    requests: PostingRequests,
    turn: timedelta,
) -> tuple[bool, str]:
    """Watch until there are news for Dagster or the turn is over.

    Whether a posting run is due, and what is wrong with the settings of the posts.
    """
    until = live.clock() + turn
    asked_after: int | None = None
    due, complaint = False, ""
    while True:
        again_at, channels = live.look(live.clock() + LONGEST_LOOK)
        if live.tick.changes != asked_after:
            asked_after = live.tick.changes
            due, complaint = live.posting_is_due(instance)
            if due and not requests.may_ask(instance, live.clock()):
                due, asked_after = False, None
                again_at = min(again_at, live.clock() + QUICKEST)
        if due or live.tick.news or watch.off_duty or live.clock() >= until:
            return due, complaint
        watch.wait(channels, min(again_at, until) - live.clock())
