-- A role for a UI that everybody may look at: it reads Dagster's database, and writes nowhere.
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
