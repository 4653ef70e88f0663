-- On TimescaleDB, too, the chunk of minutes is there before the transaction that writes them begins.

CREATE FUNCTION prepare_minutes(range_start timestamptz, range_end timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    day timestamptz;
    any_channel smallint;
BEGIN
    FOR day IN SELECT generate_series(date_trunc('day', range_start), range_end, interval '1 day') LOOP
        CONTINUE WHEN day_is_dropped(day);
        PERFORM create_minute_chunks(day, day);
        CONTINUE WHEN store_edition() = 'postgresql' OR EXISTS (
            SELECT FROM chunks_of('telemetry_minute') WHERE starts_at <= day AND ends_at > day
        );
        -- TimescaleDB makes a chunk for a row only; it stays when the row goes.
        SELECT min(channel_id) INTO any_channel FROM telemetry_channel;
        INSERT INTO telemetry_minute (channel_id, minute, readings, live_seconds) VALUES (any_channel, day, 0, 0)
        ON CONFLICT DO NOTHING;
        DELETE FROM telemetry_minute WHERE channel_id = any_channel AND minute = day AND readings = 0 AND live_seconds = 0;
    END LOOP;
END $$;
COMMENT ON FUNCTION prepare_minutes(timestamptz, timestamptz) IS
    'Makes the chunks of telemetry_minute for all days of the range (UTC), its end included, that are not there and not dropped. '
    'Until the transaction that makes a chunk ends nobody else can make one: call it in one of its own, before any lock.';
