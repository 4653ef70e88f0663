-- Whoever takes over the ingest daemon may do less: chunks of a century would be as many tables, which everybody who
-- plans a query has to pass; and of what is written beside readings it may write the columns that the daemon writes.

CREATE OR REPLACE FUNCTION create_telemetry_chunks(range_start timestamptz, range_end timestamptz) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    -- The feed's stamps reach back a year; the rest is for what waits in a spool, and for clocks that differ.
    oldest CONSTANT timestamptz := date_trunc('day', now() - interval '400 days');
    newest CONSTANT timestamptz := now() + interval '3 days';
BEGIN
    -- It runs with the owner's rights: current_user is the owner, session_user who has logged in.
    IF NOT pg_has_role(session_user, current_user, 'MEMBER') AND (range_start < oldest OR range_end > newest) THEN
        RAISE check_violation USING MESSAGE = format(
            'chunks before %s or after %s are for the owner of the store to make', oldest::date, newest::date);
    END IF;
    PERFORM create_chunks('telemetry_reading', '1 day', range_start, range_end);
END $$;
COMMENT ON FUNCTION create_telemetry_chunks(timestamptz, timestamptz) IS
    'Makes the one-day chunks from the day of range_start to the day of range_end, both included, that are not there yet. '
    'Blocks no reader and no writer. Call it before any other lock is taken. TimescaleDB makes its chunks by itself. '
    'Others than the owner may ask for 400 days back and 3 ahead, else it is a check_violation.';

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
    -- pg_temp comes last: nobody can put a table of their own before those that are meant.
    EXECUTE format('ALTER FUNCTION create_telemetry_chunks(timestamptz, timestamptz) SECURITY DEFINER'
                   ' SET search_path = %s, pg_temp', own_path);
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
    -- Older versions granted these for whole tables, which would outweigh the columns.
    REVOKE INSERT, UPDATE ON telemetry_channel, telemetry_revision, link_interval FROM peebot_ingest;
    GRANT SELECT, INSERT (item_id, name, subsystem, kind, catalogued) ON telemetry_channel TO peebot_ingest;
    -- RETURNING ts needs SELECT on ts only, but TimescaleDB can't grant a column of what it compresses.
    -- By EXECUTE, as TimescaleDB spoils a GRANT that plpgsql has kept for the next call.
    EXECUTE 'GRANT SELECT, INSERT ON telemetry_reading TO peebot_ingest';
    GRANT SELECT, INSERT (hour, revision, readings), UPDATE (revision, readings, updated_at)
        ON telemetry_revision TO peebot_ingest;
    GRANT SELECT, INSERT (source, state, started_at, last_seen_at, ended_at), UPDATE (last_seen_at, ended_at)
        ON link_interval TO peebot_ingest;
    -- What was rejected is stored once, so it has to be looked at.
    GRANT SELECT, INSERT ON rejected_reading TO peebot_ingest;
    GRANT EXECUTE ON FUNCTION create_telemetry_chunks TO peebot_ingest;
    -- Each process looks at its start whether it knows the schema.
    GRANT SELECT ON alembic_version TO peebot_ingest;

    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO peebot_reader, peebot_dagster', current_schema());
    EXECUTE 'GRANT INSERT, UPDATE, DELETE ON telemetry_minute TO peebot_dagster';
    GRANT INSERT, UPDATE, DELETE ON processor_revision, processor_state, detector_look, detected_event, post,
        alert_condition, alert_told, alert_destination TO peebot_dagster;
    REVOKE EXECUTE ON FUNCTION maintain_store, order_chunk FROM peebot_dagster;
    GRANT EXECUTE ON FUNCTION create_minute_chunks, maintain_store_now, drop_old_rejections_now, order_chunk_now
        TO peebot_dagster;

    -- Last, as a superuser who has made the roles of older versions has not made this one: the others need not wait.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'peebot_dagster_reader') THEN
        IF NOT may_create THEN
            RAISE NOTICE 'there is no role peebot_dagster_reader: let a superuser create it, then call grant_roles()';
            RETURN;
        END IF;
        BEGIN
            CREATE ROLE peebot_dagster_reader NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            RAISE NOTICE 'the role peebot_dagster_reader has just been made';
        END;
    END IF;
    -- Its tables are in Dagster's database; here it sees no more than whether it knows the schema.
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO peebot_dagster_reader', current_schema());
    GRANT SELECT ON alembic_version TO peebot_dagster_reader;
END $$;
COMMENT ON FUNCTION grant_roles() IS
    'Makes the roles, if the caller may, and grants them what they need: peebot_ingest stores readings and link states, '
    'peebot_reader reads, peebot_dagster reads and writes what is computed, peebot_dagster_reader reads Dagster''s tables '
    'alone. Without them everything works as the owner.';

SELECT grant_roles();
