-- Whoever may call what drops old data with the owner's rights must not say what time it is: by a clock that runs ahead
-- everything is old. Dagster's role gets functions that go by the clock of the store; a clock of one's own is the owner's.

-- As before, but rejections first: to delete them may take minutes, and from the first dropped chunk on readers wait for
-- the end of the transaction.
CREATE OR REPLACE FUNCTION maintain_store(
    as_of timestamptz DEFAULT now(), unchanged_for interval DEFAULT '1 day',
    OUT reading_chunks_dropped integer, OUT minute_chunks_dropped integer, OUT rejections_dropped bigint
) LANGUAGE plpgsql AS $$
BEGIN
    rejections_dropped := drop_old_rejections(days_of_setting('rejected_retention_days'), as_of);
    PERFORM create_telemetry_chunks(as_of, as_of + interval '2 days');
    PERFORM create_minute_chunks(as_of, as_of + interval '7 days');
    reading_chunks_dropped := drop_old_telemetry(days_of_setting('raw_retention_days'), as_of, unchanged_for);
    minute_chunks_dropped := drop_old_minutes(days_of_setting('minute_retention_days'), as_of);
END $$;

CREATE FUNCTION maintain_store_now(
    OUT reading_chunks_dropped integer, OUT minute_chunks_dropped integer, OUT rejections_dropped bigint
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT * INTO reading_chunks_dropped, minute_chunks_dropped, rejections_dropped FROM maintain_store();
END $$;
COMMENT ON FUNCTION maintain_store_now() IS
    'maintain_store() with the owner''s rights, by the clock of the store and no other.';

CREATE FUNCTION drop_old_rejections_now() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN drop_old_rejections(days_of_setting('rejected_retention_days'));
END $$;
COMMENT ON FUNCTION drop_old_rejections_now() IS
    'That part of maintain_store_now() for which nobody has to wait: in a transaction of its own, before the rest.';

CREATE FUNCTION order_chunk_now(wanted timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN order_chunk(wanted);
END $$;
COMMENT ON FUNCTION order_chunk_now(timestamptz) IS
    'order_chunk() with the owner''s rights, by the clock of the store and no other.';

ALTER FUNCTION order_chunk(timestamptz, timestamptz) SECURITY INVOKER;

DO $$
DECLARE
    own_path text;
    definer text;
BEGIN
    SELECT string_agg(DISTINCT quote_ident(name), ', ') INTO own_path
    FROM (
        SELECT current_schema()
        UNION ALL
        SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'timescaledb'
    ) AS schemas (name);
    FOREACH definer IN ARRAY ARRAY['maintain_store_now()', 'drop_old_rejections_now()', 'order_chunk_now(timestamptz)'] LOOP
        -- pg_temp comes last: nobody can put a table of their own before those that are meant.
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %s, pg_temp', definer, own_path);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    may_create CONSTANT boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
BEGIN
    REVOKE EXECUTE ON FUNCTION create_telemetry_chunks, create_minute_chunks, maintain_store, order_chunk,
        maintain_store_now, drop_old_rejections_now, order_chunk_now FROM PUBLIC;
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
    REVOKE EXECUTE ON FUNCTION maintain_store, order_chunk FROM peebot_dagster;
    GRANT EXECUTE ON FUNCTION create_minute_chunks, maintain_store_now, drop_old_rejections_now, order_chunk_now
        TO peebot_dagster;
END $$;
COMMENT ON FUNCTION grant_roles() IS
    'Makes the roles, if the caller may, and grants them what they need: peebot_ingest stores readings and link states, '
    'peebot_reader reads, peebot_dagster reads and writes what is computed. Without them everything works as the owner.';

SELECT grant_roles();
