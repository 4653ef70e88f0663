-- How many updates were rejected is known without counting them, and rejections are not kept for ever.

CREATE TABLE rejected_day (
    day timestamptz PRIMARY KEY,
    stored bigint NOT NULL,
    updates bigint NOT NULL
);
COMMENT ON TABLE rejected_day IS
    'One row per UTC day with rows in rejected_reading; kept by triggers, so it is right in each transaction.';
COMMENT ON COLUMN rejected_day.day IS 'Start of the day of rejected_reading.received_at (UTC).';
COMMENT ON COLUMN rejected_day.stored IS 'Rows of rejected_reading.';
COMMENT ON COLUMN rejected_day.updates IS
    'Updates that they stand for: one each, or as many as the row says were lost, or were rejected and only counted.';

CREATE FUNCTION rejected_updates(fields jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    -- A server may claim anything, and a sum must still be a bigint.
    SELECT least(greatest(
        1,
        CASE WHEN jsonb_typeof(fields->'count') = 'number' THEN (fields->'count')::numeric END,
        CASE WHEN jsonb_typeof(fields->'suppressed') = 'number' THEN (fields->'suppressed')::numeric END
    ), 1e12)::bigint
$$;
COMMENT ON FUNCTION rejected_updates(jsonb) IS
    'For how many updates a row of rejected_reading with these fields stands: mostly one.';

CREATE FUNCTION count_rejected() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO rejected_day AS known (day, stored, updates)
        SELECT date_trunc('day', received_at, 'UTC'), count(*), sum(rejected_updates(fields))
        FROM changed GROUP BY 1 ORDER BY 1
        ON CONFLICT (day) DO UPDATE SET
            stored = known.stored + excluded.stored, updates = known.updates + excluded.updates;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE rejected_day known SET stored = known.stored - gone.stored, updates = known.updates - gone.updates
        FROM (
            SELECT date_trunc('day', received_at, 'UTC') AS day, count(*) AS stored,
                sum(rejected_updates(fields)) AS updates
            FROM changed GROUP BY 1
        ) gone
        WHERE known.day = gone.day;
        DELETE FROM rejected_day WHERE stored <= 0;
    ELSE
        DELETE FROM rejected_day;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION count_rejected() IS 'Trigger of rejected_reading: keeps rejected_day.';

DO $$
BEGIN
    -- Whoever may store a rejection need not be able to change the count.
    EXECUTE format('ALTER FUNCTION count_rejected() SECURITY DEFINER SET search_path = %I, pg_temp', current_schema());
END $$;

CREATE TRIGGER count_inserted AFTER INSERT ON rejected_reading REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_rejected();
CREATE TRIGGER count_deleted AFTER DELETE ON rejected_reading REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_rejected();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON rejected_reading
    FOR EACH STATEMENT EXECUTE FUNCTION count_rejected();

INSERT INTO rejected_day (day, stored, updates)
SELECT date_trunc('day', received_at, 'UTC'), count(*), sum(rejected_updates(fields)) FROM rejected_reading GROUP BY 1;

INSERT INTO setting (key, value) VALUES ('rejected_retention_days', 30);
COMMENT ON COLUMN setting.key IS
    'raw_retention_days, minute_retention_days, rejected_retention_days or compress_after_days.';

CREATE FUNCTION drop_old_rejections(older_than interval, as_of timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    dropped bigint;
BEGIN
    -- Whole days: so the counts of the days that are written to need not wait for this transaction.
    DELETE FROM rejected_reading WHERE received_at < date_trunc('day', as_of - older_than, 'UTC');
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION drop_old_rejections(interval, timestamptz) IS
    'Deletes the rejected updates of the UTC days that ended before as_of - older_than, those that tell how many were '
    'only counted among them, and returns how many rows it were.';

DROP FUNCTION maintain_store(timestamptz, interval);
CREATE FUNCTION maintain_store(
    as_of timestamptz DEFAULT now(), unchanged_for interval DEFAULT '1 day',
    OUT reading_chunks_dropped integer, OUT minute_chunks_dropped integer, OUT rejections_dropped bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_telemetry_chunks(as_of, as_of + interval '2 days');
    PERFORM create_minute_chunks(as_of, as_of + interval '7 days');
    reading_chunks_dropped := drop_old_telemetry(days_of_setting('raw_retention_days'), as_of, unchanged_for);
    minute_chunks_dropped := drop_old_minutes(days_of_setting('minute_retention_days'), as_of);
    rejections_dropped := drop_old_rejections(days_of_setting('rejected_retention_days'), as_of);
END $$;
COMMENT ON FUNCTION maintain_store(timestamptz, interval) IS
    'The daily housekeeping: makes the chunks of the next days and drops what is older than the settings say. '
    'Compression and roll-ups are policies of TimescaleDB, where it has them; order_chunk() is called after it.';

DO $$
DECLARE
    own_path text;
BEGIN
    SELECT string_agg(DISTINCT quote_ident(name), ', ') INTO own_path
    FROM (
        SELECT current_schema()
        UNION ALL
        SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'timescaledb'
    ) AS schemas (name);
    EXECUTE format('ALTER FUNCTION maintain_store(timestamptz, interval) SECURITY DEFINER SET search_path = %s, pg_temp',
                   own_path);
END $$;

-- Its new tables and functions, too.
SELECT grant_roles();
