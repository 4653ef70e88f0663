-- What is old goes: readings after a month, minutes after two years; what was computed from them stays true.

CREATE TABLE telemetry_last_dropped (
    channel_id smallint PRIMARY KEY,
    ts timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    value double precision,
    status_class smallint,
    event_id bigint NOT NULL
);
COMMENT ON TABLE telemetry_last_dropped IS
    'Of each channel the newest reading that was dropped for its age: a quiet channel still has the value that it had.';
COMMENT ON COLUMN telemetry_last_dropped.channel_id IS 'The channel.';
COMMENT ON COLUMN telemetry_last_dropped.ts IS 'Event time (UTC).';
COMMENT ON COLUMN telemetry_last_dropped.received_at IS 'When the daemon received it (UTC).';
COMMENT ON COLUMN telemetry_last_dropped.value IS 'The value, in the unit of the channel; NULL for text.';
COMMENT ON COLUMN telemetry_last_dropped.status_class IS 'Status.Class of the feed; 24 is good.';
COMMENT ON COLUMN telemetry_last_dropped.event_id IS '64-bit hash of item, TimeStamp, Value and Status.Class as received.';

DROP FUNCTION drop_old_telemetry(interval, timestamptz);
CREATE FUNCTION drop_old_telemetry(
    older_than interval, as_of timestamptz DEFAULT now(), unchanged_for interval DEFAULT '0'
) RETURNS integer LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    old record;
    dropped integer := 0;
BEGIN
    FOR old IN
        SELECT chunk, starts_at, ends_at FROM chunks_of('telemetry_reading')
        WHERE ends_at <= as_of - older_than AND NOT EXISTS (
            SELECT FROM telemetry_revision
            WHERE hour >= starts_at AND hour < ends_at AND updated_at > clock_timestamp() - unchanged_for
        )
    LOOP
        INSERT INTO telemetry_last_dropped AS known (channel_id, ts, received_at, value, status_class, event_id)
        SELECT channel.channel_id, last.ts, last.received_at, last.value, last.status_class, last.event_id
        FROM telemetry_channel channel CROSS JOIN LATERAL (
            SELECT r.ts, r.received_at, r.value, r.status_class, r.event_id FROM telemetry_reading r
            WHERE r.channel_id = channel.channel_id AND r.ts >= old.starts_at AND r.ts < old.ends_at
            ORDER BY r.ts DESC, r.received_at DESC, r.event_id DESC
            LIMIT 1
        ) last
        ON CONFLICT (channel_id) DO UPDATE SET
            ts = excluded.ts, received_at = excluded.received_at, value = excluded.value,
            status_class = excluded.status_class, event_id = excluded.event_id
        WHERE (excluded.ts, excluded.received_at, excluded.event_id) > (known.ts, known.received_at, known.event_id);
        -- A stray old stamp makes a day of its own; when such a day is replayed later, there is nothing to protect.
        INSERT INTO dropped_day (day)
        SELECT day FROM generate_series(old.starts_at, old.ends_at - interval '1 microsecond', interval '1 day') day
        WHERE EXISTS (SELECT FROM live_intervals(day, day + interval '1 day'))
        ON CONFLICT DO NOTHING;
        PERFORM drop_chunk('telemetry_reading', old.chunk, old.starts_at, old.ends_at);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION drop_old_telemetry(interval, timestamptz, interval) IS
    'Drops the chunks whose readings are all older than as_of - older_than and returns how many. '
    'A day to which something was added within unchanged_for is kept: it may be a replay that is still being computed. '
    'Gives up with lock_not_available when readers hold a chunk for 5 s.';

CREATE FUNCTION drop_old_minutes(older_than interval, as_of timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    old record;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('refresh_telemetry_minute', 0));
    FOR old IN
        SELECT chunk, starts_at, ends_at FROM chunks_of('telemetry_minute') WHERE ends_at <= as_of - older_than
    LOOP
        INSERT INTO telemetry_hour_kept SELECT * FROM hours_of_minutes(old.starts_at, old.ends_at);
        INSERT INTO dropped_day (day, minutes_dropped)
        SELECT day, true FROM generate_series(old.starts_at, old.ends_at - interval '1 microsecond', interval '1 day') day
        ON CONFLICT (day) DO UPDATE SET minutes_dropped = true;
        PERFORM drop_chunk('telemetry_minute', old.chunk, old.starts_at, old.ends_at);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION drop_old_minutes(interval, timestamptz) IS
    'Drops the chunks (weeks) of telemetry_minute that are wholly older than as_of - older_than and returns how many; '
    'their hours are kept.';

CREATE FUNCTION maintain_store(
    as_of timestamptz DEFAULT now(), unchanged_for interval DEFAULT '1 day',
    OUT reading_chunks_dropped integer, OUT minute_chunks_dropped integer
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_telemetry_chunks(as_of, as_of + interval '2 days');
    PERFORM create_minute_chunks(as_of, as_of + interval '7 days');
    reading_chunks_dropped := drop_old_telemetry(days_of_setting('raw_retention_days'), as_of, unchanged_for);
    minute_chunks_dropped := drop_old_minutes(days_of_setting('minute_retention_days'), as_of);
END $$;
COMMENT ON FUNCTION maintain_store(timestamptz, interval) IS
    'The daily housekeeping: makes the chunks of the next days and drops what is older than the settings say. '
    'Compression and roll-ups are policies of TimescaleDB, where it has them.';

CREATE FUNCTION apply_policies() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF store_edition() <> 'timescaledb-community' THEN
        RETURN;
    END IF;
    PERFORM remove_compression_policy('telemetry_reading', if_exists => true);
    PERFORM add_compression_policy('telemetry_reading', compress_after => days_of_setting('compress_after_days'));
END $$;
COMMENT ON FUNCTION apply_policies() IS
    'Brings TimescaleDB''s policies in line with the settings; where there are none, it does nothing.';

CREATE FUNCTION change_setting(wanted text, days integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE setting SET value = days, updated_at = clock_timestamp() WHERE key = wanted;
    IF NOT FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('there is no setting %L', wanted);
    END IF;
    PERFORM apply_policies();
END $$;
COMMENT ON FUNCTION change_setting(text, integer) IS
    'Changes a setting. Compression follows at once; what is to be dropped goes with the next maintain_store().';

CREATE FUNCTION maintain_store_job(job_id integer, config jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM maintain_store();
END $$;
COMMENT ON FUNCTION maintain_store_job(integer, jsonb) IS
    'maintain_store() as a job of TimescaleDB. Its own retention policy would not do: it knows nothing of '
    'the last reading of a quiet channel, nor of the hours that outlive their minutes.';

DO $$
BEGIN
    IF store_edition() = 'timescaledb-community' THEN
        ALTER TABLE telemetry_reading SET (
            timescaledb.compress, timescaledb.compress_segmentby = 'channel_id',
            timescaledb.compress_orderby = 'ts, event_id'
        );
        PERFORM apply_policies();
        PERFORM add_job('maintain_store_job', '1 hour');
    END IF;
END $$;
