-- What live detection has looked at, so that a look costs only what is new. Losing it costs a re-run, nothing else.

CREATE TABLE detector_look (
    detector text NOT NULL,
    hour timestamptz NOT NULL,
    revision bigint NOT NULL,
    own_revision bigint NOT NULL,
    looked_at timestamptz NOT NULL,
    PRIMARY KEY (detector, hour)
);
COMMENT ON TABLE detector_look IS
    'One row per detector and hour that live detection has looked at while its events may still change; '
    'gone once the hour is settled (processor_revision).';
COMMENT ON COLUMN detector_look.detector IS 'Name of the detector.';
COMMENT ON COLUMN detector_look.hour IS 'Start of the hour (UTC).';
COMMENT ON COLUMN detector_look.revision IS 'telemetry_revision.revision as it was when the detector looked.';
COMMENT ON COLUMN detector_look.own_revision IS
    'Readings of the detector''s own channels in the hour, plus changes of the link: what can change its events.';
COMMENT ON COLUMN detector_look.looked_at IS 'When it looked (UTC).';

CREATE INDEX detected_event_open ON detected_event (detector, started_at) WHERE state = 'open';

CREATE OR REPLACE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql AS $$
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
    GRANT EXECUTE ON FUNCTION create_minute_chunks, maintain_store TO peebot_dagster;
END $$;

SELECT grant_roles();
