-- What everyone above the tables calls: chunks, windows of readings, live time. Time is UTC, ranges are half-open.

CREATE FUNCTION create_telemetry_chunks(range_start timestamptz, range_end timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    chunk_start timestamptz;
    chunk_name text;
BEGIN
    IF store_edition() <> 'postgresql' THEN
        RETURN;
    END IF;
    FOR chunk_start IN SELECT generate_series(date_trunc('day', range_start), range_end, interval '1 day') LOOP
        chunk_name := 'telemetry_reading_' || to_char(chunk_start, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(chunk_name) IS NOT NULL;
        -- One maker at a time. This lock lets readers and writers through; an advisory lock would not do, as the name
        -- could still be remembered as free after waiting for it.
        LOCK TABLE telemetry_reading IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(chunk_name) IS NOT NULL;
        -- CREATE ... PARTITION OF would wait for every reader and writer, and make new ones wait; ATTACH does not.
        EXECUTE format('CREATE TABLE %I (LIKE telemetry_reading INCLUDING COMMENTS)', chunk_name);
        EXECUTE format('COMMENT ON TABLE %I IS %L', chunk_name,
                       'The chunk of telemetry_reading for the UTC day ' || chunk_start::date || '.');
        EXECUTE format('ALTER TABLE telemetry_reading ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       chunk_name, chunk_start, chunk_start + interval '1 day');
    END LOOP;
END $$;
COMMENT ON FUNCTION create_telemetry_chunks(timestamptz, timestamptz) IS
    'Makes the one-day chunks from the day of range_start to the day of range_end, both included, that are not there yet. '
    'Blocks no reader and no writer. Call it before any other lock is taken. TimescaleDB makes its chunks by itself.';

CREATE FUNCTION drop_old_telemetry(older_than interval, as_of timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    chunk record;
    dropped integer := 0;
BEGIN
    IF store_edition() <> 'postgresql' THEN
        SELECT count(*) INTO dropped FROM drop_chunks('telemetry_reading', older_than => as_of - older_than);
        RETURN dropped;
    END IF;
    FOR chunk IN
        SELECT child.oid::regclass AS name
        FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = 'telemetry_reading'::regclass
            AND to_timestamp(right(child.relname, 8), 'YYYYMMDD') + interval '1 day' <= as_of - older_than
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %s', chunk.name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION drop_old_telemetry(interval, timestamptz) IS
    'Drops the chunks whose readings are all older than as_of - older_than and returns how many. '
    'Gives up with lock_not_available when readers hold a chunk for 5 s, rather than make everyone wait behind it.';

CREATE FUNCTION telemetry_window(channel_ids smallint[], range_start timestamptz, range_end timestamptz)
RETURNS TABLE (channel_id smallint, item_id text, ts timestamptz, value double precision, status_class smallint)
LANGUAGE sql STABLE AS $$
    SELECT channel.channel_id, channel.item_id, reading.ts, reading.value, reading.status_class
    FROM telemetry_channel channel CROSS JOIN LATERAL (
        (
            SELECT r.ts, r.value, r.status_class, r.received_at, r.event_id
            FROM telemetry_reading r
            WHERE r.channel_id = channel.channel_id AND r.ts < range_start
            ORDER BY r.ts DESC, r.received_at DESC, r.event_id DESC
            LIMIT 1
        )
        UNION ALL
        SELECT r.ts, r.value, r.status_class, r.received_at, r.event_id
        FROM telemetry_reading r
        WHERE r.channel_id = channel.channel_id AND r.ts >= range_start AND r.ts < range_end
    ) reading
    WHERE channel.channel_id = ANY (channel_ids)
    ORDER BY reading.ts, reading.received_at, reading.event_id
$$;
COMMENT ON FUNCTION telemetry_window(smallint[], timestamptz, timestamptz) IS
    'Readings of the channels with range_start <= ts < range_end, and of each channel the last reading before range_start, '
    'in order of event time; readings with the same event time come in the order in which they were received.';

CREATE FUNCTION live_intervals(range_start timestamptz, range_end timestamptz)
RETURNS TABLE (started_at timestamptz, ended_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT lower(live), upper(live)
    FROM (
        SELECT unnest(range_agg(
            tstzrange(link.started_at, coalesce(link.ended_at, link.last_seen_at)) * tstzrange(range_start, range_end)
        )) AS live
        FROM link_interval link
        WHERE link.state = 'LIVE' AND link.started_at < range_end
            AND (link.ended_at IS NULL OR link.ended_at > range_start)
    ) merged
    ORDER BY lower(live)
$$;
COMMENT ON FUNCTION live_intervals(timestamptz, timestamptz) IS
    'The time in the range for which any source was LIVE, as disjoint intervals in order; '
    'a current interval counts up to its last_seen_at.';
