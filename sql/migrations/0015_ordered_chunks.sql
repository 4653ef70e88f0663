-- Readings are stored as they come, so ten minutes of one channel lie in hundreds of blocks. A day that is over is put
-- in the order in which it is read: by channel, then by time. Once, and again when much has come late.

-- As before, but it locks the table without its chunks: a new day need not wait for an old one that is put in order.
CREATE OR REPLACE FUNCTION create_chunks(parent regclass, width interval, range_start timestamptz, range_end timestamptz)
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
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', parent);
        CONTINUE WHEN to_regclass(chunk_name) IS NOT NULL;
        -- CREATE ... PARTITION OF would wait for every reader and writer, and make new ones wait; ATTACH does not.
        EXECUTE format('CREATE TABLE %I (LIKE %s INCLUDING COMMENTS)', chunk_name, parent);
        EXECUTE format('COMMENT ON TABLE %I IS %L', chunk_name,
                       format('The chunk of %s from %s on (%s, UTC).', parent, chunk_start::date, width));
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, chunk_name, chunk_start, chunk_start + width);
    END LOOP;
END $$;

CREATE TABLE ordered_chunk (
    starts_at timestamptz PRIMARY KEY,
    readings bigint NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ordered_chunk IS
    'One row per chunk of telemetry_reading whose rows were put in the order of channel and time: order_chunk().';
COMMENT ON COLUMN ordered_chunk.starts_at IS 'Start of the chunk (UTC).';
COMMENT ON COLUMN ordered_chunk.readings IS 'How many readings telemetry_revision told of in it then; more came late.';
COMMENT ON COLUMN ordered_chunk.ordered_at IS 'When it was last put in order (UTC).';

CREATE FUNCTION chunk_is_compressed(chunk text, ends_at timestamptz, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF store_edition() <> 'timescaledb-community' THEN
        RETURN false;
    END IF;
    RETURN ends_at <= moment - days_of_setting('compress_after_days') OR EXISTS (
        SELECT FROM timescaledb_information.chunks c
        WHERE format('%I.%I', c.chunk_schema, c.chunk_name) = chunk AND c.is_compressed
    );
END $$;
COMMENT ON FUNCTION chunk_is_compressed(text, timestamptz, timestamptz) IS
    'Whether a chunk of telemetry_reading, as chunks_of() names it, is compressed now or by the settings at that moment.';

CREATE FUNCTION chunks_to_order(as_of timestamptz DEFAULT now(), unchanged_for interval DEFAULT '1 hour')
RETURNS TABLE (chunk text, starts_at timestamptz, readings bigint)
LANGUAGE plpgsql STABLE SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY
        SELECT closed.chunk, closed.starts_at, stored.readings
        FROM chunks_of('telemetry_reading') closed
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(r.readings), 0)::bigint AS readings, max(r.updated_at) AS updated_at
            FROM telemetry_revision r WHERE r.hour >= closed.starts_at AND r.hour < closed.ends_at
        ) stored
        LEFT JOIN ordered_chunk known ON known.starts_at = closed.starts_at
        WHERE closed.ends_at <= as_of - unchanged_for
            AND coalesce(stored.updated_at <= clock_timestamp() - unchanged_for, true)
            -- A tenth of the rows out of order costs a reader little.
            AND coalesce(stored.readings - known.readings > known.readings / 10, true)
            -- Compression sorts by itself.
            AND NOT chunk_is_compressed(closed.chunk, closed.ends_at, as_of + interval '1 day')
        ORDER BY closed.starts_at DESC;
END $$;
COMMENT ON FUNCTION chunks_to_order(timestamptz, interval) IS
    'The chunks of telemetry_reading that order_chunk() would put in order, newest first: those that were over at as_of '
    'and to which nothing was added within unchanged_for, unless that was done already and less than a tenth came late, '
    'or they are compressed by the next day.';

CREATE FUNCTION order_chunk(wanted timestamptz, as_of timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    found_chunk record;
    by_channel_and_time name;
BEGIN
    SELECT * INTO found_chunk FROM chunks_to_order(as_of) WHERE starts_at = wanted;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT relname INTO STRICT by_channel_and_time
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = found_chunk.chunk::regclass AND indisunique;
    EXECUTE format('CLUSTER %s USING %I', found_chunk.chunk, by_channel_and_time);
    EXECUTE format('ANALYZE %s', found_chunk.chunk);
    INSERT INTO ordered_chunk (starts_at, readings) VALUES (found_chunk.starts_at, found_chunk.readings)
    ON CONFLICT (starts_at) DO UPDATE SET readings = excluded.readings, ordered_at = excluded.ordered_at;
    -- A day that is dropped and then replayed begins anew.
    DELETE FROM ordered_chunk known
    WHERE NOT EXISTS (SELECT FROM chunks_of('telemetry_reading') c WHERE c.starts_at = known.starts_at);
    RETURN true;
END $$;
COMMENT ON FUNCTION order_chunk(timestamptz, timestamptz) IS
    'Puts the chunk of telemetry_reading that starts at this moment in the order of channel and time, if '
    'chunks_to_order() names it, and tells whether it did. While it does, whoever reads or stores readings of this chunk '
    'waits: call it for one chunk per transaction. Gives up with lock_not_available when the chunk is in use for 2 s.';

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
    EXECUTE format('ALTER FUNCTION order_chunk(timestamptz, timestamptz) SECURITY DEFINER SET search_path = %s, pg_temp',
                   own_path);
END $$;

CREATE OR REPLACE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    may_create CONSTANT boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
BEGIN
    REVOKE EXECUTE ON FUNCTION create_telemetry_chunks, create_minute_chunks, maintain_store, order_chunk FROM PUBLIC;
    FOREACH wanted IN ARRAY ARRAY['peebot_ingest', 'peebot_reader', 'peebot_dagster'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        IF NOT may_create THEN
            RAISE NOTICE 'there is no role %: let a superuser create it, then call grant_roles()', wanted;
            RETURN;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Roles belong to the whole server; another database was migrated at the same moment.
            RAISE NOTICE 'the role % has just been made', wanted;
        END;
    END LOOP;

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO peebot_ingest, peebot_reader, peebot_dagster', current_schema());
    IF NOT has_database_privilege('peebot_ingest', current_database(), 'TEMPORARY') THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO peebot_ingest', current_database());
    END IF;
    GRANT SELECT, INSERT ON telemetry_channel TO peebot_ingest;
    -- RETURNING ts needs SELECT on ts only, but TimescaleDB can't grant a column of what it compresses.
    -- By EXECUTE, as TimescaleDB spoils a GRANT that plpgsql has kept for the next call.
    EXECUTE 'GRANT SELECT, INSERT ON telemetry_reading TO peebot_ingest';
    GRANT SELECT, INSERT, UPDATE ON telemetry_revision, link_interval TO peebot_ingest;
    -- What was rejected is stored once, so it has to be looked at.
    GRANT SELECT, INSERT ON rejected_reading TO peebot_ingest;
    GRANT EXECUTE ON FUNCTION create_telemetry_chunks TO peebot_ingest;

    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO peebot_reader, peebot_dagster', current_schema());
    EXECUTE 'GRANT INSERT, UPDATE, DELETE ON telemetry_minute TO peebot_dagster';
    GRANT INSERT, UPDATE, DELETE ON processor_revision, processor_state, detector_look, detected_event, post
        TO peebot_dagster;
    GRANT EXECUTE ON FUNCTION create_minute_chunks, maintain_store, order_chunk TO peebot_dagster;
END $$;
COMMENT ON FUNCTION grant_roles() IS
    'Makes the roles, if the caller may, and grants them what they need: peebot_ingest stores readings and link states, '
    'peebot_reader reads, peebot_dagster reads and writes what is computed. Without them everything works as the owner.';

SELECT grant_roles();
