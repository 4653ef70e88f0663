-- How long what is kept, and chunks for any table that grows with time: one function for each concern hides the edition.

CREATE TABLE setting (
    key text PRIMARY KEY,
    value integer NOT NULL CHECK (value BETWEEN 1 AND 36500),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE setting IS 'What the owner of the store may choose; change it with change_setting() or ./peebot retention.';
COMMENT ON COLUMN setting.key IS 'raw_retention_days, minute_retention_days or compress_after_days.';
COMMENT ON COLUMN setting.value IS 'The choice, in the unit that the key names.';
COMMENT ON COLUMN setting.updated_at IS 'When it was chosen (UTC).';

INSERT INTO setting (key, value) VALUES
    ('raw_retention_days', 30), ('minute_retention_days', 730), ('compress_after_days', 7);

CREATE FUNCTION days_of_setting(wanted text) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT make_interval(days => value) FROM setting WHERE key = wanted
$$;
COMMENT ON FUNCTION days_of_setting(text) IS 'A setting in days, as an interval.';

CREATE FUNCTION chunks_of(parent regclass)
RETURNS TABLE (chunk text, starts_at timestamptz, ends_at timestamptz)
LANGUAGE plpgsql STABLE SET timezone = 'UTC' AS $$
BEGIN
    IF store_edition() <> 'postgresql' THEN
        RETURN QUERY
            SELECT format('%I.%I', c.chunk_schema, c.chunk_name), c.range_start, c.range_end
            FROM timescaledb_information.chunks c
            WHERE format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass = parent
            ORDER BY c.range_start;
        RETURN;
    END IF;
    RETURN QUERY
        SELECT child.oid::regclass::text, bound.ends[1]::timestamptz, bound.ends[2]::timestamptz
        FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid, LATERAL (
            SELECT regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''(.+)''\) TO \(''(.+)''\)')
        ) bound (ends)
        WHERE inhparent = parent
        ORDER BY 2;
END $$;
COMMENT ON FUNCTION chunks_of(regclass) IS
    'The chunks of telemetry_reading or telemetry_minute, oldest first, with the time that each covers (end exclusive).';

CREATE FUNCTION create_chunks(parent regclass, width interval, range_start timestamptz, range_end timestamptz)
RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    -- A Monday, so that chunks of a week begin on Mondays.
    first_start CONSTANT timestamptz := date_bin(width, range_start, '2001-01-01 00:00+00');
    chunk_start timestamptz;
    chunk_name text;
BEGIN
    IF store_edition() <> 'postgresql' THEN
        RETURN;
    END IF;
    FOR chunk_start IN SELECT generate_series(first_start, range_end, width) LOOP
        chunk_name := parent || '_' || to_char(chunk_start, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(chunk_name) IS NOT NULL;
        -- One maker at a time. This lock lets readers and writers through; an advisory lock would not do, as the name
        -- could still be remembered as free after waiting for it.
        EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', parent);
        CONTINUE WHEN to_regclass(chunk_name) IS NOT NULL;
        -- CREATE ... PARTITION OF would wait for every reader and writer, and make new ones wait; ATTACH does not.
        EXECUTE format('CREATE TABLE %I (LIKE %s INCLUDING COMMENTS)', chunk_name, parent);
        EXECUTE format('COMMENT ON TABLE %I IS %L', chunk_name,
                       format('The chunk of %s from %s on (%s, UTC).', parent, chunk_start::date, width));
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, chunk_name, chunk_start, chunk_start + width);
    END LOOP;
END $$;
COMMENT ON FUNCTION create_chunks(regclass, interval, timestamptz, timestamptz) IS
    'Makes the chunks of this width from the one with range_start to the one with range_end, that are not there yet. '
    'Blocks no reader and no writer. TimescaleDB makes its chunks by itself.';

CREATE OR REPLACE FUNCTION create_telemetry_chunks(range_start timestamptz, range_end timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    PERFORM create_chunks('telemetry_reading', '1 day', range_start, range_end);
END $$;
COMMENT ON FUNCTION create_telemetry_chunks(timestamptz, timestamptz) IS
    'Makes the one-day chunks from the day of range_start to the day of range_end, both included, that are not there yet. '
    'Blocks no reader and no writer. Call it before any other lock is taken. TimescaleDB makes its chunks by itself.';

CREATE FUNCTION drop_chunk(parent regclass, chunk text, starts_at timestamptz, ends_at timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
BEGIN
    IF store_edition() = 'postgresql' THEN
        EXECUTE format('DROP TABLE %s', chunk);
    ELSE
        PERFORM drop_chunks(parent, older_than => ends_at, newer_than => starts_at);
    END IF;
END $$;
COMMENT ON FUNCTION drop_chunk(regclass, text, timestamptz, timestamptz) IS
    'Drops one chunk, as chunks_of() names it. Gives up with lock_not_available when readers hold it for 5 s, '
    'rather than make everyone wait behind it.';
