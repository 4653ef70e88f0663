-- Refreshes of different days go at once: two runs of a backfill use two processors.

CREATE FUNCTION lock_telemetry_minute(range_start timestamptz, range_end timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    day timestamptz := date_trunc('day', range_start);
BEGIN
    -- Shared by all refreshes; drop_old_minutes takes it for itself.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('refresh_telemetry_minute', 0));
    WHILE day < range_end LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('telemetry_minute of a day', date_part('epoch', day)::bigint));
        day := day + interval '1 day';
    END LOOP;
END $$;
COMMENT ON FUNCTION lock_telemetry_minute(timestamptz, timestamptz) IS
    'Waits until no other transaction refreshes minutes of the days (UTC) that the range touches, and keeps others from '
    'it until the transaction ends. Who locks several ranges locks the older first: so no two wait for each other.';

-- Not in SQL: TimescaleDB does not see that the plan of such a function names a chunk that was dropped since.
CREATE FUNCTION next_live_minute(moment timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT min(stored.minute) FROM telemetry_minute stored WHERE stored.minute >= moment AND stored.live_seconds > 0
    );
END $$;
COMMENT ON FUNCTION next_live_minute(timestamptz) IS 'The first stored minute, from this moment on, with a live link.';

CREATE FUNCTION telemetry_known_until() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest((SELECT max(hour) + interval '1 hour' FROM telemetry_revision), (SELECT max(last_seen_at) FROM link_interval))
$$;
COMMENT ON FUNCTION telemetry_known_until() IS 'Up to when there is any telemetry, or a link that was live without any.';

CREATE OR REPLACE FUNCTION refresh_telemetry_minute(range_start timestamptz, range_end timestamptz) RETURNS bigint
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    slice_start timestamptz := date_trunc('minute', range_start);
    end_minute CONSTANT timestamptz := date_trunc('minute', range_end + interval '1 minute - 1 microsecond');
    slice_end timestamptz;
    next_minute timestamptz;
    slice record;
    minutes bigint := 0;
BEGIN
    -- Two refreshes of one minute at a time would both insert it.
    PERFORM lock_telemetry_minute(slice_start, end_minute);

    -- In slices, so that a month needs no more memory than a few hours.
    WHILE slice_start < end_minute LOOP
        slice_end := least(slice_start + interval '6 hours', date_trunc('day', slice_start) + interval '1 day', end_minute);
        IF NOT day_is_dropped(slice_start) THEN
            slice := recompute_telemetry_slice(slice_start, slice_end);
            minutes := minutes + slice.minutes;
        END IF;
        slice_start := slice_end;
    END LOOP;

    -- Late data also change the later minutes that repeat their value. If there are any, the next live minute is one.
    LOOP
        next_minute := next_live_minute(slice_end);
        -- What another refresh is just writing cannot be seen: it is waited for, whether or not a minute is there yet.
        PERFORM lock_telemetry_minute(slice_end, coalesce(next_minute + interval '1 minute', telemetry_known_until()));
        CONTINUE WHEN next_minute IS DISTINCT FROM next_live_minute(slice_end);
        EXIT WHEN next_minute IS NULL OR day_is_dropped(next_minute);
        slice := recompute_telemetry_slice(next_minute, next_minute + interval '1 minute');
        EXIT WHEN slice.changes = 0;
        slice_end := date_trunc('hour', next_minute) + interval '1 hour';
        IF slice_end > next_minute + interval '1 minute' THEN
            PERFORM recompute_telemetry_slice(next_minute + interval '1 minute', slice_end);
        END IF;
    END LOOP;
    RETURN minutes;
END $$;
