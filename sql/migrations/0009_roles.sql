-- Roles for those who should not be the owner. They can't log in: make a user of your own a member,
-- as in CREATE ROLE listener LOGIN IN ROLE peebot_ingest.

-- What these do needs the owner's rights, and they do nothing else with them.
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
    FOREACH definer IN ARRAY ARRAY['create_telemetry_chunks(timestamptz, timestamptz)',
                                   'create_minute_chunks(timestamptz, timestamptz)',
                                   'maintain_store(timestamptz, interval)'] LOOP
        -- pg_temp comes last: nobody can put a table of their own before those that are meant.
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %s, pg_temp', definer, own_path);
    END LOOP;
END $$;

CREATE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    may_create CONSTANT boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
BEGIN
    REVOKE EXECUTE ON FUNCTION create_telemetry_chunks, create_minute_chunks, maintain_store FROM PUBLIC;
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
    GRANT SELECT, INSERT ON telemetry_reading TO peebot_ingest;
    GRANT SELECT, INSERT, UPDATE ON telemetry_revision, link_interval TO peebot_ingest;
    -- What was rejected is stored once, so it has to be looked at.
    GRANT SELECT, INSERT ON rejected_reading TO peebot_ingest;
    GRANT EXECUTE ON FUNCTION create_telemetry_chunks TO peebot_ingest;

    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO peebot_reader, peebot_dagster', current_schema());
    GRANT INSERT, UPDATE, DELETE ON telemetry_minute, processor_revision, processor_state, detected_event, post
        TO peebot_dagster;
    GRANT EXECUTE ON FUNCTION create_minute_chunks, maintain_store TO peebot_dagster;
END $$;
COMMENT ON FUNCTION grant_roles() IS
    'Makes the roles, if the caller may, and grants them what they need: peebot_ingest stores readings and link states, '
    'peebot_reader reads, peebot_dagster reads and writes what is computed. Without them everything works as the owner.';

SELECT grant_roles();
