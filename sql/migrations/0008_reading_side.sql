-- What is read is aware of what was dropped: the last value of a quiet channel is known for ever, and a day whose
-- readings are gone is not computed again.

CREATE FUNCTION last_reading_before(channel smallint, moment timestamptz)
RETURNS TABLE (
    ts timestamptz, received_at timestamptz, value double precision, status_class smallint, event_id bigint
) LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT r.ts, r.received_at, r.value, r.status_class, r.event_id
    FROM (
        (
            SELECT r.ts, r.received_at, r.value, r.status_class, r.event_id FROM telemetry_reading r
            WHERE r.channel_id = channel AND r.ts < moment
            ORDER BY r.ts DESC, r.received_at DESC, r.event_id DESC
            LIMIT 1
        )
        UNION ALL
        SELECT r.ts, r.received_at, r.value, r.status_class, r.event_id FROM telemetry_last_dropped r
        WHERE r.channel_id = channel AND r.ts < moment
    ) r
    ORDER BY r.ts DESC, r.received_at DESC, r.event_id DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION last_reading_before(smallint, timestamptz) IS
    'The last reading of the channel before the moment, also when its chunk was dropped for its age.';

CREATE OR REPLACE FUNCTION telemetry_window(channel_ids smallint[], range_start timestamptz, range_end timestamptz)
RETURNS TABLE (channel_id smallint, item_id text, ts timestamptz, value double precision, status_class smallint)
LANGUAGE sql STABLE AS $$
    SELECT channel.channel_id, channel.item_id, reading.ts, reading.value, reading.status_class
    FROM telemetry_channel channel CROSS JOIN LATERAL (
        SELECT r.ts, r.value, r.status_class, r.received_at, r.event_id
        FROM last_reading_before(channel.channel_id, range_start) r
        UNION ALL
        SELECT r.ts, r.value, r.status_class, r.received_at, r.event_id
        FROM telemetry_reading r
        WHERE r.channel_id = channel.channel_id AND r.ts >= range_start AND r.ts < range_end
    ) reading
    WHERE channel.channel_id = ANY (channel_ids)
    ORDER BY reading.ts, reading.received_at, reading.event_id
$$;

CREATE FUNCTION recent(item text, minutes double precision, as_of timestamptz DEFAULT now())
RETURNS TABLE (ts timestamptz, value double precision, status_class smallint)
LANGUAGE sql STABLE AS $$
    SELECT reading.ts, reading.value, reading.status_class
    FROM telemetry_window(
        ARRAY(SELECT channel_id FROM telemetry_channel WHERE item_id = item),
        as_of - make_interval(secs => 60 * minutes), as_of
    ) reading
$$;
COMMENT ON FUNCTION recent(text, double precision, timestamptz) IS
    'The readings of one item in the last minutes before as_of, and the reading before them, in order of event time.';

CREATE FUNCTION day_is_dropped(moment timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM dropped_day WHERE day = date_trunc('day', moment, 'UTC'))
$$;
COMMENT ON FUNCTION day_is_dropped(timestamptz) IS
    'Whether the readings of this UTC day were dropped after they had been computed: it must not be computed again.';

CREATE OR REPLACE FUNCTION recompute_telemetry_slice(
    slice_start timestamptz, slice_end timestamptz, OUT minutes bigint, OUT changes bigint
)
LANGUAGE plpgsql
SET timezone = 'UTC' SET jit = off SET work_mem = '64MB' SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM create_minute_chunks(slice_start, slice_end - interval '1 minute');
    -- The slice, cut at each minute and wherever the link came or went.
    WITH span AS MATERIALIZED (
        SELECT date_trunc('minute', boundary.at) AS minute,
            boundary.at AS started_at,
            lead(boundary.at, 1, slice_end) OVER in_order AS ended_at,
            sum(sum(boundary.step)) OVER in_order = 1 AS live
        FROM (
            SELECT generate_series(slice_start, slice_end - interval '1 minute', interval '1 minute'), 0
            UNION ALL
            SELECT started_at, 1 FROM live_intervals(slice_start, slice_end)
            UNION ALL
            SELECT ended_at, -1 FROM live_intervals(slice_start, slice_end) WHERE ended_at < slice_end
        ) boundary (at, step)
        GROUP BY boundary.at
        WINDOW in_order AS (ORDER BY boundary.at)
    ),
    -- How long each value held: from its reading to the next one. Of the readings before the slice the last one
    -- counts, from the begin of the slice on. What the station itself calls missing (1) or dead (2) is no value.
    held AS MATERIALIZED (
        SELECT channel.channel_id,
            CASE WHEN reading.status_class IN (1, 2) THEN NULL ELSE reading.value END AS value,
            reading.carried,
            date_bin('1 minute', reading.ts, '2000-01-01 00:00+00') AS minute,
            reading.ts AS started_at,
            lead(reading.ts, 1, slice_end) OVER in_order AS ended_at
        FROM telemetry_channel channel CROSS JOIN LATERAL (
            SELECT slice_start AS ts, true AS carried, r.value, r.status_class, r.received_at, r.event_id
            FROM last_reading_before(channel.channel_id, slice_start) r
            UNION ALL
            SELECT r.ts, false, r.value, r.status_class, r.received_at, r.event_id
            FROM telemetry_reading r
            WHERE r.channel_id = channel.channel_id AND r.ts >= slice_start AND r.ts < slice_end
        ) reading
        WINDOW in_order AS (
            PARTITION BY channel.channel_id
            ORDER BY reading.ts, NOT reading.carried, reading.received_at, reading.event_id
        )
    ),
    -- The same, cut at the minutes: the minute of the reading, and the later minutes that the value reaches into.
    held_minute AS (
        SELECT channel_id, value, NOT carried AS is_reading, minute, started_at,
            least(ended_at, minute + interval '1 minute') AS ended_at
        FROM held
        WHERE NOT carried OR ended_at > started_at
        UNION ALL
        SELECT channel_id, value, false, later.minute, later.minute,
            least(ended_at, later.minute + interval '1 minute')
        FROM held, generate_series(held.minute + interval '1 minute', ended_at - interval '1 microsecond',
                                   interval '1 minute') AS later (minute)
        WHERE value IS NOT NULL AND ended_at > held.minute + interval '1 minute'
    ),
    -- And cut at the link's comings and goings. A value that is superseded at once holds for no time, yet it was there.
    piece AS (
        SELECT held_minute.channel_id, span.minute,
            CASE WHEN span.live THEN held_minute.value END AS value,
            is_reading AND held_minute.started_at >= span.started_at AS is_reading,
            greatest(held_minute.started_at, span.started_at) AS started_at,
            date_part('epoch', least(held_minute.ended_at, span.ended_at)
                               - greatest(held_minute.started_at, span.started_at)) AS seconds
        FROM held_minute JOIN span ON span.minute = held_minute.minute
            AND span.ended_at > held_minute.started_at
            AND span.started_at
                < greatest(held_minute.ended_at, held_minute.started_at + interval '1 microsecond')
        WHERE span.live OR is_reading
    ),
    summary AS (
        SELECT channel_id, minute,
            array_agg(value ORDER BY started_at) FILTER (WHERE value IS NOT NULL AND seconds > 0) AS values,
            min(value) AS min_value,
            max(value) AS max_value,
            sum(value * seconds ORDER BY started_at) AS value_seconds,
            coalesce(sum(seconds ORDER BY started_at) FILTER (WHERE value IS NOT NULL), 0) AS live_seconds,
            count(*) FILTER (WHERE is_reading) AS readings
        FROM piece
        GROUP BY channel_id, minute
    ),
    fresh AS MATERIALIZED (
        SELECT channel_id, minute, values[1] AS first_value, values[cardinality(values)] AS last_value,
            min_value, max_value, value_seconds / nullif(live_seconds, 0) AS mean_value,
            readings::integer AS readings, live_seconds::real AS live_seconds
        FROM summary
        WHERE readings > 0 OR live_seconds > 0
    ),
    vanished AS (
        DELETE FROM telemetry_minute stored
        WHERE stored.minute >= slice_start AND stored.minute < slice_end
            AND NOT EXISTS (
                SELECT FROM fresh WHERE fresh.channel_id = stored.channel_id AND fresh.minute = stored.minute
            )
        RETURNING 1
    ),
    -- Only rows that change are written: most refreshes are of hours that are nearly as they were.
    changed AS (
        INSERT INTO telemetry_minute
            (channel_id, minute, first_value, last_value, min_value, max_value, mean_value, readings,
             live_seconds)
        SELECT channel_id, minute, first_value, last_value, min_value, max_value, mean_value, readings,
            live_seconds
        FROM fresh
        WHERE NOT EXISTS (
            SELECT FROM telemetry_minute stored
            WHERE stored.minute >= slice_start AND stored.minute < slice_end
                AND stored.channel_id = fresh.channel_id AND stored.minute = fresh.minute
                AND (stored.first_value, stored.last_value, stored.min_value, stored.max_value, stored.mean_value,
                     stored.readings, stored.live_seconds)
                    IS NOT DISTINCT FROM
                    (fresh.first_value, fresh.last_value, fresh.min_value, fresh.max_value, fresh.mean_value,
                     fresh.readings, fresh.live_seconds)
        )
        ON CONFLICT (channel_id, minute) DO UPDATE SET
            first_value = excluded.first_value, last_value = excluded.last_value, min_value = excluded.min_value,
            max_value = excluded.max_value, mean_value = excluded.mean_value, readings = excluded.readings,
            live_seconds = excluded.live_seconds
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM vanished) + (SELECT count(*) FROM changed)
    INTO minutes, changes;
END $$;

CREATE OR REPLACE FUNCTION refresh_telemetry_minute(range_start timestamptz, range_end timestamptz) RETURNS bigint
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    slice_start timestamptz := date_trunc('minute', range_start);
    end_minute CONSTANT timestamptz := date_trunc('minute', range_end + interval '1 minute - 1 microsecond');
    slice_end timestamptz;
    slice record;
    minutes bigint := 0;
BEGIN
    -- Two refreshes of one minute at a time would both insert it.
    PERFORM pg_advisory_xact_lock(hashtextextended('refresh_telemetry_minute', 0));

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
        SELECT min(stored.minute) INTO slice_start FROM telemetry_minute stored
        WHERE stored.minute >= slice_end AND stored.live_seconds > 0;
        EXIT WHEN slice_start IS NULL OR day_is_dropped(slice_start);
        slice := recompute_telemetry_slice(slice_start, slice_start + interval '1 minute');
        EXIT WHEN slice.changes = 0;
        slice_end := date_trunc('hour', slice_start) + interval '1 hour';
        IF slice_end > slice_start + interval '1 minute' THEN
            PERFORM recompute_telemetry_slice(slice_start + interval '1 minute', slice_end);
        END IF;
    END LOOP;
    RETURN minutes;
END $$;
COMMENT ON FUNCTION refresh_telemetry_minute(timestamptz, timestamptz) IS
    'Recomputes telemetry_minute for all channels and all minutes that the range touches, from what is stored now, '
    'and returns how many rows these minutes have; then the later minutes that repeat a value which has changed. '
    'How a range is split into calls, and in which order they come, makes no difference to the result. '
    'A day whose readings were dropped stays as it is.';
