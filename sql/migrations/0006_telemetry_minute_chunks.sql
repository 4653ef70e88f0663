-- telemetry_minute in chunks of a week, so that old minutes can be dropped; hours and days outlive them in
-- telemetry_hour_kept. The roll-ups of the minutes are continuous aggregates where TimescaleDB has them.

DROP VIEW telemetry_day;
DROP VIEW telemetry_hour;

DO $$
DECLARE
    span record;
BEGIN
    IF store_edition() <> 'postgresql' THEN
        PERFORM create_hypertable('telemetry_minute', 'minute', chunk_time_interval => interval '7 days',
                                  create_default_indexes => false, migrate_data => true);
        RETURN;
    END IF;
    ALTER TABLE telemetry_minute RENAME TO telemetry_minute_unchunked;
    ALTER INDEX telemetry_minute_pkey RENAME TO telemetry_minute_unchunked_pkey;
    CREATE TABLE telemetry_minute (LIKE telemetry_minute_unchunked INCLUDING COMMENTS) PARTITION BY RANGE (minute);
    FOR span IN SELECT DISTINCT date_bin('7 days', minute, '2001-01-01 00:00+00') AS week FROM telemetry_minute_unchunked
    LOOP
        PERFORM create_chunks('telemetry_minute', '7 days', span.week, span.week);
    END LOOP;
    INSERT INTO telemetry_minute SELECT * FROM telemetry_minute_unchunked;
    EXECUTE format('COMMENT ON TABLE telemetry_minute IS %L', obj_description('telemetry_minute_unchunked'::regclass));
    DROP TABLE telemetry_minute_unchunked;
    ALTER TABLE telemetry_minute ADD PRIMARY KEY (channel_id, minute);
    CREATE INDEX ON telemetry_minute (minute);
END $$;

CREATE FUNCTION create_minute_chunks(range_start timestamptz, range_end timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    PERFORM create_chunks('telemetry_minute', '7 days', range_start, range_end);
END $$;
COMMENT ON FUNCTION create_minute_chunks(timestamptz, timestamptz) IS
    'Makes the chunks of telemetry_minute (weeks from Monday, UTC) that the range touches and that are not there yet.';

CREATE TABLE dropped_day (
    day timestamptz PRIMARY KEY,
    minutes_dropped boolean NOT NULL DEFAULT false,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE dropped_day IS
    'One row per UTC day whose readings were dropped for their age after they had been computed: '
    'its minutes and events stay as they are, whatever arrives for that day later.';
COMMENT ON COLUMN dropped_day.day IS 'Start of the day (UTC).';
COMMENT ON COLUMN dropped_day.minutes_dropped IS 'Whether its minutes are dropped too; its hours are in telemetry_hour_kept.';
COMMENT ON COLUMN dropped_day.dropped_at IS 'When it was first dropped (UTC).';

CREATE TABLE telemetry_hour_kept (
    channel_id smallint NOT NULL,
    hour timestamptz NOT NULL,
    first_value double precision,
    last_value double precision,
    min_value double precision,
    max_value double precision,
    mean_value double precision,
    readings bigint NOT NULL,
    live_seconds double precision NOT NULL,
    PRIMARY KEY (channel_id, hour)
);
CREATE INDEX ON telemetry_hour_kept (hour);

-- One text for all roll-ups, so that they can't come to differ.
DO $$
DECLARE
    is_community CONSTANT boolean := store_edition() = 'timescaledb-community';
    roll_up CONSTANT text :=
        'SELECT channel_id, %1$s AS %2$s,
            (array_agg(first_value ORDER BY %3$s) FILTER (WHERE first_value IS NOT NULL))[1] AS first_value,
            (array_agg(last_value ORDER BY %3$s DESC) FILTER (WHERE last_value IS NOT NULL))[1] AS last_value,
            min(min_value) AS min_value,
            max(max_value) AS max_value,
            sum(mean_value * live_seconds::double precision)
                / nullif(sum(live_seconds::double precision), 0) AS mean_value,
            sum(readings)::bigint AS readings,
            sum(live_seconds::double precision) AS live_seconds
        FROM %4$s GROUP BY channel_id, %1$s';
    in_range CONSTANT text := 'telemetry_minute WHERE minute >= range_start AND minute < range_end';
    unit text;
    live text;
    kept text;
BEGIN
    EXECUTE format(
        'CREATE FUNCTION hours_of_minutes(range_start timestamptz, range_end timestamptz)'
        ' RETURNS SETOF telemetry_hour_kept LANGUAGE sql STABLE AS %L',
        format(roll_up, 'date_trunc(''hour'', minute, ''UTC'')', 'hour', 'minute', in_range));
    FOREACH unit IN ARRAY ARRAY['hour', 'day'] LOOP
        IF is_community THEN
            live := format('telemetry_%s_aggregate', unit);
            EXECUTE format(
                'CREATE MATERIALIZED VIEW %I WITH (timescaledb.continuous, timescaledb.materialized_only = false)'
                ' AS %s WITH NO DATA',
                live, format(roll_up, format('time_bucket(''1 %s'', minute)', unit), unit, 'minute', 'telemetry_minute'));
            EXECUTE format('COMMENT ON VIEW %I IS %L', live,
                           format('telemetry_minute by the %1$s; read telemetry_%1$s, which has dropped minutes too.', unit));
            -- Without a start: each late minute is taken up, however late.
            PERFORM add_continuous_aggregate_policy(live, start_offset => NULL, end_offset => interval '1 hour',
                                                    schedule_interval => interval '10 minutes');
        ELSE
            live := format('(%s)', format(roll_up, format('date_trunc(''%s'', minute, ''UTC'')', unit), unit, 'minute',
                                          'telemetry_minute'));
        END IF;
        kept := CASE unit WHEN 'hour' THEN 'SELECT * FROM telemetry_hour_kept'
            ELSE format(roll_up, 'date_trunc(''day'', hour, ''UTC'')', 'day', 'hour', 'telemetry_hour_kept') END;
        EXECUTE format(
            'CREATE VIEW telemetry_%1$s AS
            SELECT * FROM %2$s live WHERE NOT EXISTS (
                SELECT FROM dropped_day
                WHERE dropped_day.day = date_trunc(''day'', live.%1$s, ''UTC'') AND dropped_day.minutes_dropped
            )
            UNION ALL %3$s', unit, live, kept);
    END LOOP;
END $$;
COMMENT ON FUNCTION hours_of_minutes(timestamptz, timestamptz) IS
    'The hours of the range, computed from telemetry_minute as it is now.';

COMMENT ON VIEW telemetry_hour IS 'telemetry_minute summed up: one row per channel and hour. Kept when the minutes are dropped.';
COMMENT ON VIEW telemetry_day IS 'telemetry_minute summed up: one row per channel and UTC day. Kept when the minutes are dropped.';
COMMENT ON TABLE telemetry_hour_kept IS 'The hours whose minutes were dropped for their age; read them through telemetry_hour.';
DO $$
DECLARE
    relation text;
    unit text;
BEGIN
    FOR relation IN
        SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
            AND relname IN ('telemetry_hour', 'telemetry_hour_aggregate', 'telemetry_hour_kept',
                            'telemetry_day', 'telemetry_day_aggregate')
    LOOP
        unit := CASE WHEN relation LIKE 'telemetry_day%' THEN 'day' ELSE 'hour' END;
        EXECUTE format('COMMENT ON COLUMN %I.channel_id IS %L', relation, 'The channel.');
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', relation, unit, format('Start of the %s (UTC).', unit));
        EXECUTE format('COMMENT ON COLUMN %I.first_value IS %L', relation,
                       format('First known value of the %s while live.', unit));
        EXECUTE format('COMMENT ON COLUMN %I.last_value IS %L', relation,
                       format('Last known value of the %s while live.', unit));
        EXECUTE format('COMMENT ON COLUMN %I.min_value IS %L', relation, 'Least value that held while live, however short.');
        EXECUTE format('COMMENT ON COLUMN %I.max_value IS %L', relation, 'Greatest value that held while live, however short.');
        EXECUTE format('COMMENT ON COLUMN %I.mean_value IS %L', relation,
                       'Mean weighted by the time that each value held while live; NULL when never live.');
        EXECUTE format('COMMENT ON COLUMN %I.readings IS %L', relation,
                       format('Readings with an event time in the %s.', unit));
        EXECUTE format('COMMENT ON COLUMN %I.live_seconds IS %L', relation,
                       format('Seconds of the %s for which the link was live and the value known.', unit));
    END LOOP;
END $$;
